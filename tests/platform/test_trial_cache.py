"""The cache of running trials always says what the database says, and reads little of it."""

import random
from collections.abc import Iterator
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.distributions import FloatDistribution
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState

from platform.trial_cache import NO_TRIAL, TrialCache
from platform.trial_rows import MAX_NAMED, RowStorage


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a database with Optuna's tables, which take seconds to make."""
    url = f"sqlite:///{tmp_path_factory.mktemp('studies') / 'optuna.db'}"
    RDBStorage(url).engine.dispose()
    return url


@pytest.fixture
def cache(url: str) -> Iterator[TrialCache]:
    cache = TrialCache(RowStorage(url))
    yield cache
    cache._backend.engine.dispose()


@pytest.fixture
def other(url: str) -> Iterator[RDBStorage]:
    """Another program on the same database; it reads everything each time."""
    other = RDBStorage(url)
    yield other
    other.engine.dispose()


def new_study(storage: BaseStorage) -> int:
    return storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE])


def content(trials: list[FrozenTrial]) -> list[dict[str, Any]]:
    return [vars(trial) for trial in trials]


def write_something(cache: TrialCache, study: int, running: list[int], rng: random.Random) -> None:
    """Do one of the things that a driver does."""
    deed = rng.choice(("ask", "param", "value", "user", "system", "end"))
    if deed == "ask" or not running:
        running.append(cache.create_new_trial(study))
        return
    trial = rng.choice(running)
    if deed == "param":
        cache.set_trial_param(trial, rng.choice("xy"), rng.random(), FloatDistribution(0, 1))
    elif deed == "value":
        cache.set_trial_intermediate_value(trial, rng.randrange(5), rng.choice((rng.random(), float("inf"))))
    elif deed == "user":
        cache.set_trial_user_attr(trial, rng.choice("ab"), {"one": (1, None)})
    elif deed == "system":
        cache.set_trial_system_attr(trial, rng.choice("ab"), [rng.random()])
    else:
        running.remove(trial)
        cache.set_trial_state_values(trial, TrialState.COMPLETE, [rng.random()])


@pytest.mark.parametrize("seed", range(5))
def test_the_cache_equals_the_database_after_any_writes_of_both(
    cache: TrialCache, other: RDBStorage, seed: int
) -> None:
    rng = random.Random(seed)
    study = new_study(cache)
    running: list[int] = []
    for _ in range(60):
        write_something(cache, study, running, rng)
        if running and rng.random() < 0.1:
            ended = running.pop(rng.randrange(len(running)))
            other.set_trial_user_attr(ended, "reason", "stopped")
            other.set_trial_state_values(ended, TrialState.FAIL)
        if rng.random() < 0.1:
            other.create_new_trial(study)
        if rng.random() < 0.7:
            assert content(cache.get_all_trials(study)) == content(other.get_all_trials(study))
    assert content(cache.get_all_trials(study)) == content(other.get_all_trials(study))
    assert content(cache.get_all_trials(study, states=(TrialState.RUNNING,))) == content(
        other.get_all_trials(study, states=(TrialState.RUNNING,))
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_cache_that_looks_once_knows_its_own_writes_at_once_and_those_of_others_afterwards(
    cache: TrialCache, other: RDBStorage, seed: int
) -> None:
    rng = random.Random(seed)
    study = new_study(cache)
    running = [cache.create_new_trial(study) for _ in range(3)]
    stopped, *running = running
    for _ in range(6):
        with cache.looking_once():
            cache.get_all_trials(study)
            for _ in range(5):
                write_something(cache, study, running, rng)
                assert content(cache.get_all_trials(study)) == content(other.get_all_trials(study))
                states = (TrialState.RUNNING,)
                assert {trial._trial_id for trial in cache.get_all_trials(study, states=states)} == {stopped, *running}
    with cache.looking_once():
        cache.get_all_trials(study)
        other.set_trial_state_values(stopped, TrialState.FAIL)
        assert cache.get_all_trials(study)[0].state == TrialState.RUNNING
        cache.look_again()
        assert cache.get_all_trials(study)[0].state == TrialState.FAIL
        new = other.create_new_trial(study)
    assert cache.get_all_trials(study)[-1]._trial_id == new


@pytest.mark.parametrize("num_trials", [3, MAX_NAMED + 3])
def test_a_cache_that_opens_late_knows_all_trials(cache: TrialCache, other: RDBStorage, num_trials: int) -> None:
    study = new_study(other)
    template = optuna.trial.create_trial(state=TrialState.RUNNING, intermediate_values={1: 0.5})
    trials = [other.create_new_trial(study, template) for _ in range(num_trials)]
    other.set_trial_state_values(trials[1], TrialState.PRUNED)
    for _ in range(2):
        assert content(cache.get_all_trials(study)) == content(other.get_all_trials(study))


def test_only_trials_that_changed_are_read_again(cache: TrialCache) -> None:
    study = new_study(cache)
    trials = [cache.create_new_trial(study) for _ in range(64)]
    for trial in trials:
        cache.set_trial_intermediate_value(trial, 1, 0.5)
    cache.get_all_trials(study)
    read: list[object] = []  # the parameters of each query of epochs

    def note(connection: object, cursor: object, statement: str, parameters: object, *rest: object) -> None:
        if "FROM trial_intermediate_values" in statement:
            read.append(parameters)

    sqlalchemy.event.listen(cache._backend.engine, "before_cursor_execute", note)
    cache.get_all_trials(study)
    assert read == []
    cache.set_trial_intermediate_value(trials[7], 2, 0.25)
    read.clear()
    assert cache.get_all_trials(study)[7].intermediate_values == {1: 0.5, 2: 0.25}
    assert read == [(study, NO_TRIAL, trials[7])]


def test_a_deleted_study_is_not_remembered(cache: TrialCache, other: RDBStorage) -> None:
    study = new_study(cache)
    cache.create_new_trial(study)
    cache.get_all_trials(study)
    other.delete_study(study)
    with pytest.raises(KeyError):
        cache.get_all_trials(study)
