"""What a sampler observes of the trials of a study; trials that have ended are looked at once."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from platform.spaces.constraints import is_over
from platform.spaces.points import Params
from platform.trial_record import TrialRecord

Result = tuple[FrozenTrial, float]  # a trial and its value at a rung; higher is better


class Observations:
    """What some trials show, in the order of their numbers.

    Attributes:
        results: at each rung, the value of each trial, or its final value if it finished earlier.
        useless: trials that exceed a limit, or ended for another reason than the pruner's decision.
        running: the parameters of running trials.
        points: the parameters of all of them, as keys.
    """

    def __init__(self, rungs: Iterable[int]) -> None:
        self.results: dict[int, list[Result]] = {rung: [] for rung in rungs}
        self.useless: list[FrozenTrial] = []
        self.running: list[Params] = []
        self.points: set[tuple[Any, ...]] = set()

    def copy(self) -> Observations:
        """Return observations that can be added to without changing these."""
        copy = Observations(())
        copy.results = {rung: list(results) for rung, results in self.results.items()}
        copy.useless, copy.running, copy.points = list(self.useless), list(self.running), set(self.points)
        return copy

    def add(self, trial: FrozenTrial) -> None:
        """Add what one more trial shows."""
        self.points.add(point_key(trial.params))
        if trial.state == TrialState.RUNNING:
            self.running.append(trial.params)
        over = is_over(trial)
        if over or _ended_early(trial):
            insort(self.useless, trial, key=lambda one: one.number)
        if over:
            return
        for rung, results in self.results.items():
            if (value := _value_at(trial, rung)) is not None:
                insort(results, (trial, value), key=lambda result: result[0].number)


class Observer:
    """Observes the trials of one study; those that have ended only once, because they do not change.

    Args:
        rungs: the epochs at which it compares trials.
    """

    def __init__(self, rungs: Iterable[int]) -> None:
        self._ended: set[int] = set()  # numbers of the trials in `_of_ended`
        self._of_ended = Observations(rungs)

    def observe(self, trials: Iterable[FrozenTrial], *, without: int) -> Observations:
        """Return what all trials of the study show, except the one with the number `without`."""
        unfinished = []
        for trial in [trial for trial in trials if trial.number not in self._ended]:
            if trial.state.is_finished():
                self._ended.add(trial.number)
                self._of_ended.add(trial)
            elif trial.number != without:
                unfinished.append(trial)
        observations = self._of_ended.copy()
        for trial in unfinished:
            observations.add(trial)
        return observations


def point_key(params: Params) -> tuple[Any, ...]:
    """Return a key that is equal for equal parameters."""
    names = sorted(params)
    return (*names, *[params[name] for name in names])


def _value_at(trial: FrozenTrial, rung: int) -> float | None:
    value = trial.intermediate_values.get(rung)
    return trial.value if value is None and trial.state == TrialState.COMPLETE else value


def _ended_early(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.PRUNED and TrialRecord(trial).pruned_at is None
