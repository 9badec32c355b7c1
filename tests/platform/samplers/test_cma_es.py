"""The CMA-ES sampler suggests what Optuna's does, and runs nothing that others have written into the study."""

import os
import pickle  # noqa: TID251  # the attack
import random
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import cmaes
import numpy as np
import optuna
import pytest
from optuna.samplers import CmaEsSampler

from platform.samplers.cma_es import SafeCmaEsSampler, restored
from platform.samplers.registry import SAMPLERS
from shards_tools.errors import Error
from shards_tools.registry import resolve

CHUNK = 2045  # characters of the state in one attribute
KEY = "cma:optimizer:"


def objective(trial: optuna.Trial) -> float:
    numbers = [trial.suggest_float(f"x{number}", -1, 1) for number in range(3)]
    return sum((x - 0.3) ** 2 for x in numbers) + trial.suggest_int("n", 1, 9)


def searched(kind: type[CmaEsSampler], num_trials: int, storage: optuna.storages.BaseStorage | None = None) -> Any:
    """A study whose sampler is created for each trial, as in a search."""
    study = optuna.create_study(storage=storage)
    for number in range(num_trials):
        study.sampler = kind(seed=number)
        study.optimize(objective, n_trials=1)
    return study


def with_state(state: bytes) -> optuna.Study:
    """A study whose latest trial holds this state."""
    study = searched(SafeCmaEsSampler, 1)
    text = state.hex()
    parts = {f"{KEY}{number}": text[CHUNK * number :][:CHUNK] for number in range(-(-len(text) // CHUNK))}
    add_trial(study, parts)
    return study


def add_trial(study: optuna.Study, attributes: dict[str, Any]) -> None:
    first = study.trials[0]
    study.add_trial(
        optuna.trial.create_trial(
            params=first.params, distributions=first.distributions, value=1.0, system_attrs=attributes
        )
    )


def optimizer(**changes: Any) -> cmaes.CMA:
    made = cmaes.CMA(mean=np.full(4, 0.5), sigma=0.1, bounds=np.tile([0.0, 1.0], (4, 1)), n_max_resampling=40)
    vars(made).update(changes)
    return made


def test_the_registered_sampler_is_the_safe_one() -> None:
    assert resolve(SAMPLERS["cmaes"].factory) is SafeCmaEsSampler


def test_it_suggests_what_that_of_optuna_does() -> None:
    ours, theirs = searched(SafeCmaEsSampler, 60), searched(CmaEsSampler, 60)
    assert [trial.params for trial in ours.trials] == [trial.params for trial in theirs.trials]
    assert max(trial.system_attrs.get("cma:generation", 0) for trial in ours.trials) > 5


def test_a_state_that_optuna_wrote_is_read_number_by_number() -> None:
    written = optimizer()
    for _ in range(3):
        points = [written.ask() for _ in range(written.population_size)]
        written.tell([(x, float((x**2).sum())) for x in points])
    pickled = pickle.dumps(written)
    theirs, ours = pickle.loads(pickled), restored(pickled)
    for told in (theirs, ours):
        told._rng.seed(1)
    for _ in range(3):
        points = [theirs.ask() for _ in range(theirs.population_size)]
        np.testing.assert_array_equal(points, [ours.ask() for _ in range(ours.population_size)])
        for told in (theirs, ours):
            told.tell([(x, float((x**2).sum())) for x in points])
    assert ours.generation == theirs.generation == 6


class Runs:
    """An object whose pickle calls a function when it is loaded."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self._call


def hostile(mark: Path) -> dict[str, bytes]:
    """Pickles that create `mark` when they are loaded."""
    calls = {
        "a command": Runs(os.system, f"touch {mark}"),
        "a file": Runs(open, str(mark), "w"),
        "code": Runs(exec, f"open({str(mark)!r}, 'w')"),
        "a method": Runs(getattr, Path, "touch"),
    }
    within = {f"{name} within the state": optimizer(_mean=call) for name, call in calls.items()}
    return {name: pickle.dumps(value, 4) for name, value in (calls | within).items()}


@pytest.mark.parametrize("name", hostile(Path("mark")))
def test_a_hostile_pickle_in_the_study_runs_nothing(name: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    study = with_state(hostile(mark)[name])
    study.sampler = SafeCmaEsSampler(seed=0)
    with pytest.raises(Error, match=r"Trial 1 of the study has a CMA-ES state that is damaged or could run code\. Use"):
        study.ask().suggest_float("x0", -1, 1)
    assert not mark.exists()


def test_the_hostile_pickles_of_these_tests_do_run_code(tmp_path: Path) -> None:
    pickle.loads(hostile(tmp_path / "mark")["a file"]).close()
    assert (tmp_path / "mark").exists()


IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "sigma of 0": {"_sigma": 0.0},
    "sigma that is no number": {"_sigma": float("nan")},
    "sigma as text": {"_sigma": "much"},
    "generation": {"_g": -1},
    "large generation": {"_g": 10**30},
    "mean of NaN": {"_mean": np.full(4, np.nan)},
    "infinite mean": {"_mean": np.full(4, np.inf)},
    "mean as text": {"_mean": np.array(["a"] * 4)},
    "mean of objects": {"_mean": np.array([1, None, "a", 0.5], object)},
    "mean of another length": {"_mean": np.full(5, 0.5)},
    "no mean": {"_mean": np.empty(0)},
    "bounds": {"_bounds": np.zeros((3, 2))},
    "no bounds": {"_bounds": None},
    "covariance": {"_C": np.full((4, 4), np.nan)},
    "path": {"_pc": np.zeros((4, 4))},
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_impossible_numbers_are_refused_in_one_line(name: str) -> None:
    study = with_state(pickle.dumps(optimizer(**IMPOSSIBLE[name])))
    study.sampler = SafeCmaEsSampler(seed=0)
    with pytest.raises(Error, match="Trial 1 of the study has a CMA-ES state") as mistake:
        study.ask().suggest_float("x0", -1, 1)
    assert "\n" not in str(mistake.value)


def test_constants_of_a_hostile_state_are_not_used() -> None:
    study = with_state(pickle.dumps(optimizer(_n_max_resampling=10**18, _popsize=10**9, ask=1, _weights=None)))
    study.sampler = SafeCmaEsSampler(seed=0)
    study.ask().suggest_float("x0", -1, 1)


@pytest.mark.parametrize(
    "attributes",
    [{f"{KEY}1": "00"}, {f"{KEY}0": 7}, {f"{KEY}0": "zz"}, {f"{KEY}0": ""}, {f"{KEY}x": "00"}, {f"{KEY}0": None}],
)
def test_attributes_that_hold_no_state_are_refused(attributes: dict[str, Any]) -> None:
    study = searched(SafeCmaEsSampler, 1)
    add_trial(study, attributes)
    study.sampler = SafeCmaEsSampler(seed=0)
    with pytest.raises(Error, match="Trial 1 of the study has a CMA-ES state"):
        study.ask().suggest_float("x0", -1, 1)


@pytest.mark.parametrize(
    "state",
    [
        b"\x80\x04Nr" + (2**31 - 1).to_bytes(4, "little") + b".",  # a place in the memo: 16 GB
        pickle.dumps(Runs(np.ndarray, (2**20, 2**20)), 4),
        pickle.dumps(optimizer(_mean=Runs(np.empty, 2**40)), 4),
        pickle.dumps(optimizer(_mean=Runs(np._core.multiarray._reconstruct, np.ndarray, (2**40,), b"b")), 4),
    ],
    ids=["memo", "ndarray", "empty", "reconstruct"],
)
def test_a_pickle_that_asks_for_memory_is_refused(state: bytes) -> None:
    tracemalloc.start()
    with pytest.raises((pickle.UnpicklingError, TypeError)):
        restored(state)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_damaged_states_are_read_or_refused_but_never_run() -> None:
    whole = pickle.dumps(optimizer())
    generator = random.Random(0)
    outcomes: Counter[str] = Counter()
    for _ in range(2_000):
        data = bytearray(whole)
        for _ in range(generator.choice((1, 1, 2, 4))):
            data[generator.randrange(len(data))] = generator.randrange(256)
        try:
            outcomes[type(restored(bytes(data))).__name__] += 1
        except Exception:  # the sampler makes one Error of any
            outcomes["refused"] += 1
    assert outcomes.keys() == {"CMA", "refused"}
