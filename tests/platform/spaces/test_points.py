"""Points of a space: how they are drawn, what is near them, and how far apart they are."""

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from scipy.stats import ks_2samp

from platform.spaces.loading import load_space
from platform.spaces.points import NUM_CHANGES, Axes, Point, place_of, value_at

DISTRIBUTIONS = (
    FloatDistribution(-3, 5),
    FloatDistribution(1e-5, 1e-1, log=True),
    FloatDistribution(0, 1, step=0.25),
    IntDistribution(1, 5),
    IntDistribution(16, 512, log=True),
    IntDistribution(0, 12, step=3),
    CategoricalDistribution(("a", None, 3)),
)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=str)
def test_values_are_drawn_as_optuna_draws_them(distribution: BaseDistribution) -> None:
    rng = np.random.default_rng(0)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    ours = [place_of(distribution, value_at(distribution, rng.random())) for _ in range(2000)]
    theirs = [place_of(distribution, study.ask({"x": distribution}).params["x"]) for _ in range(2000)]
    assert ks_2samp(ours, theirs).pvalue > 0.01


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=str)
def test_a_place_is_that_of_its_value(distribution: BaseDistribution) -> None:
    for place in np.linspace(0, 1, 41):
        value = value_at(distribution, place)
        assert distribution._contains(distribution.to_internal_repr(value))
        assert value_at(distribution, place_of(distribution, value)) == pytest.approx(value)


def test_a_neighbor_differs_in_few_parameters_and_by_little() -> None:
    def suggest(trial: optuna.Trial) -> None:
        for number in range(12):
            trial.suggest_float(f"x{number}", 0, 1)

    center = {f"x{number}": 0.5 for number in range(12)}
    changes = []
    for seed in range(300):
        point = Point(np.random.default_rng(seed), center, spread=0.1)
        suggest(point)
        changes.append([abs(value - 0.5) for value in point.params.values() if value != 0.5])
    assert np.mean([len(change) for change in changes]) == pytest.approx(NUM_CHANGES, abs=0.3)
    assert np.sqrt(np.mean(np.concatenate(changes) ** 2)) == pytest.approx(0.1, abs=0.01)


def test_a_neighbor_has_the_parameters_of_its_own_branch() -> None:
    """Where the optimizer changes, its learning rate is another parameter."""
    space = load_space("transreid", "tiny")
    center = space.baselines["hand-set"]
    optimizers = set()
    for seed in range(60):
        point = Point(np.random.default_rng(seed), center, spread=0.1)
        space.recipe(point, None)
        optimizers.add(point.params["optimizer"])
        assert f"{point.params['optimizer']}_lr" in point.params
        assert len(point.params) == len(center)
    assert optimizers == {"sgd", "adamw"}


def test_rows_lie_a_range_or_a_choice_apart() -> None:
    axes = Axes(
        {
            "c": CategoricalDistribution(("a", "b", "c")),
            "lr": FloatDistribution(1e-4, 1e-2, log=True),
            "n": CategoricalDistribution((4, 8, 16)),
        }
    )
    rows = axes.rows([{"c": "a", "lr": 1e-4, "n": 4}, {"c": "b", "lr": 1e-2, "n": 4}, {"c": "b", "lr": 1e-3, "n": 8}])
    squares = np.add.reduceat((rows[:, None] - rows[None]) ** 2, axes.starts, axis=2)
    assert squares[0, 1] == pytest.approx([1, 1, 0])
    assert squares[1, 2] == pytest.approx([0, 0.25, 1 / 9])


def test_what_neither_of_two_points_has_does_not_part_them() -> None:
    axes = Axes({"lr": FloatDistribution(0, 1), "m": FloatDistribution(0, 1), "c": CategoricalDistribution(("a", "b"))})
    rows = axes.rows([{"lr": 0.2}, {"lr": 0.2}, {"lr": 0.2, "m": 0.9, "c": "a"}])
    assert (rows[0] == rows[1]).all()
    assert (rows[0] != rows[2]).any()
