"""Regrets of searches are those of a calculation by hand, and intervals those of the normal distribution."""

import numpy as np
import pytest

from benchmarks.lcbench import Reference, Regrets
from benchmarks.search_tables import interval, not_worse

REFERENCES = {
    "1": Reference(best=90.0, median=80.0, seconds=100.0),
    "2": Reference(best=50.0, median=40.0, seconds=9.0),
}


def run(method: str, task: str, finished: list[tuple[int, float, float]]) -> dict[str, object]:
    """The record of a search with a budget of 20 s."""
    return {"method": method, "task": task, "seed": 0, "num_seconds": 20.0, "trials": 7, "finished": finished}


@pytest.fixture
def regrets() -> Regrets:
    """Two methods on two tasks; one training is better than the best random one of its task."""
    return Regrets(
        [
            run("ours", "2", [(52, 45.0, 4.0), (104, 55.0, 10.0)]),
            run("ours", "1", [(60, 70.0, 3.0), (110, 85.0, 18.0)]),
            run("other", "1", []),
            run("other", "2", [(52, 47.5, 20.0)]),
        ],
        REFERENCES,
    )


@pytest.mark.parametrize(
    ("num_epochs", "expected"),
    [(51, [1.0, 1.0]), (59, [1.0, 10 / 15]), (103, [1.0, 10 / 15]), (109, [1.0, 0.0]), (110, [0.5, 0.0])],
)
def test_the_regret_after_epochs_is_that_of_the_best_training_so_far(
    num_epochs: int, expected: list[float], regrets: Regrets
) -> None:
    assert regrets.after_epochs("ours", num_epochs) == pytest.approx(expected)


def test_the_best_known_training_is_that_of_any_method(regrets: Regrets) -> None:
    assert regrets.after_epochs("other", 110) == pytest.approx([1.0, 7.5 / 15])


@pytest.mark.parametrize(("share", "expected"), [(0.1, [1, 1]), (0.2, [1, 10 / 15]), (0.5, [1, 0]), (1.0, [0.5, 0])])
def test_the_regret_after_a_share_of_the_time_is_that_by_the_clock(
    share: float, expected: list[float], regrets: Regrets
) -> None:
    assert regrets.after_share("ours", share) == pytest.approx(expected)


def test_the_interval_of_a_mean_is_that_of_its_standard_error() -> None:
    values = np.random.default_rng(1).normal(0.3, 0.1, 400)
    low, high = interval(values)
    error = values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=error / 10)


def test_runs_are_compared_in_pairs() -> None:
    other = np.random.default_rng(1).uniform(0, 1, 50)  # tasks differ by far more than methods
    assert not_worse(other - 0.01, other) == 1.0
    assert not_worse(other + 0.01, other) == 0.0
    assert 0.3 < not_worse(other, np.random.default_rng(2).permutation(other)) < 0.7
