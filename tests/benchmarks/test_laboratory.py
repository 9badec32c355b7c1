"""The laboratory counts every epoch once, resumes what has paused, and simulates workers that do not wait."""

import math
from collections.abc import Generator, Iterator

import pytest
from optuna.distributions import FloatDistribution

from benchmarks.laboratory import Epoch, Job, Laboratory, Params
from benchmarks.methods import METHODS
from benchmarks.methods.hyperband import Sequential, StartedTrainings

SPACE = {"x": FloatDistribution(0.0, 1.0)}
EPOCHS = 9
HERE = [name for name, listed in METHODS.items() if listed.is_here]


def curves(params: Params) -> Iterator[Epoch]:
    """Trainings that improve evenly, and take the longer the better they are."""
    return (Epoch(params["x"] * epoch, 1.0 + params["x"]) for epoch in range(1, EPOCHS + 1))


class Script:
    """Starts trials at 0, 0.5 and 1 again and again, each until a given epoch, and notes what it is told."""

    def __init__(self, last_epochs: list[int], num_trials: int) -> None:
        self.told: list[tuple[int, int, float]] = []
        self._last_epochs, self._num_trials = last_epochs, num_trials
        self._asked = 0

    def next_job(self) -> Job | None:
        if self._asked == len(self._last_epochs):
            return None
        trial = self._asked % self._num_trials
        self._asked += 1
        return Job(trial, {"x": trial / 2})

    def report(self, trial: int, epoch: int, value: float) -> bool:
        self.told.append((trial, epoch, value))
        return epoch < self._last_epochs[self._asked - 1]


def test_a_trial_that_paused_continues_with_its_next_epoch() -> None:
    script = Script([2, 1, 4], num_trials=2)
    laboratory = Laboratory(SPACE, EPOCHS, curves)
    laboratory.run(script)
    assert script.told == [(0, 1, 0.0), (0, 2, 0.0), (1, 1, 0.5), (0, 3, 0.0), (0, 4, 0.0)]
    assert laboratory.num_trials == 2


def test_a_search_ends_with_its_last_epoch_of_the_budget() -> None:
    script = Script([9] * 5, num_trials=5)
    laboratory = Laboratory(SPACE, EPOCHS, curves, num_epochs=20)
    laboratory.run(script)
    assert len(script.told) == 20
    assert [found.epochs for found in laboratory.finished] == [9, 18]


def test_a_search_ends_when_a_training_is_good_enough() -> None:
    script = Script([9] * 5, num_trials=5)
    laboratory = Laboratory(SPACE, EPOCHS, curves, enough=4.5)
    laboratory.run(script)
    assert [found.value for found in laboratory.finished] == [0.0, 4.5]


def test_workers_train_side_by_side_and_short_epochs_do_not_wait_for_long_ones() -> None:
    script = Script([2, 2, 2], num_trials=3)
    Laboratory(SPACE, EPOCHS, curves).run(script, num_workers=3)
    # epochs of 1, 1.5 and 2 s; of two that end at once, the earlier start is told first
    assert [(trial, epoch) for trial, epoch, _ in script.told] == [(0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (2, 2)]
    script = Script([9, 9], num_trials=2)
    laboratory = Laboratory({}, EPOCHS, curves, num_seconds=9.0)
    laboratory.run(script, num_workers=2)
    assert [(found.epochs, found.seconds) for found in laboratory.finished] == [(15, 9.0)]


@pytest.mark.parametrize("method", HERE)
def test_each_method_spends_its_budget_and_repeats_itself_for_a_seed(method: str) -> None:
    found = []
    for _ in range(2):
        laboratory = Laboratory(SPACE, EPOCHS, curves, num_epochs=100)
        laboratory.run(METHODS[method].make(SPACE, EPOCHS, seed=3))
        found.append(laboratory.finished)
    assert found[0] == found[1]
    assert laboratory.num_trials > 3
    assert max(one.value for one in laboratory.finished) > 0


@pytest.mark.parametrize("method", [name for name in HERE if METHODS[name].is_parallel])
def test_each_method_that_shares_a_search_keeps_all_workers_busy(method: str) -> None:
    laboratory = Laboratory(SPACE, EPOCHS, curves, num_seconds=30.0)
    laboratory.run(METHODS[method].make(SPACE, EPOCHS, seed=3), num_workers=4)
    slowest_s = 2.0  # an epoch
    assert laboratory.num_epochs >= 4 * math.floor(30.0 / slowest_s)


def test_settings_that_are_promoted_resume_and_those_trained_as_long_before_start_again() -> None:
    started = StartedTrainings()
    first = started.job({"x": 0.5}, 2)
    assert started.job({"x": 0.5}, 6) == first
    assert started.job({"x": 0.5}, 6) != first
    assert started.job({"x": 0.7}, 6).trial == 2


def test_a_method_that_trains_in_turn_gets_the_value_at_the_epoch_that_it_asked_for() -> None:
    told = []

    def trainings() -> Generator[tuple[Job, int], float, None]:
        for epochs in (3, 1, 5):
            told.append((yield Job(len(told), {"x": 1.0}), epochs))

    with pytest.raises(StopIteration):
        Laboratory(SPACE, EPOCHS, curves).run(Sequential(trainings()))
    assert told == [3.0, 1.0, 5.0]
