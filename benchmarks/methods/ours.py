"""The platform's default sampler and pruner."""

from __future__ import annotations

import types
from typing import Any

import optuna
from optuna.trial import TrialState

from benchmarks.laboratory import Job, Space
from benchmarks.methods.params import suggest
from platform.samplers.pruning import make_pruner, rungs_of, should_stop
from platform.samplers.samplers import reseed


class Ours:
    """Suggests and stops as a search does."""

    def __init__(self, space: Space, epochs: int, seed: int) -> None:
        self._space, self._epochs, self._seed = space, epochs, seed
        self._rungs = rungs_of(epochs, warmup=0)
        self._study = optuna.create_study(direction="maximize", pruner=make_pruner("halving", self._rungs))
        self._trials: dict[int, optuna.Trial] = {}

    def next_job(self) -> Job:
        space: Any = types.SimpleNamespace(suggest=lambda trial: suggest(trial, self._space))
        reseed(self._study, "rungwise", space=space, rungs=self._rungs, seed=self._seed)
        trial = self._study.ask()
        self._trials[trial.number] = trial
        return Job(trial.number, suggest(trial, self._space))

    def report(self, trial: int, epoch: int, value: float) -> bool:
        asked = self._trials[trial]
        asked.report(value, epoch)
        if should_stop(asked, epoch, self._epochs):
            self._study.tell(asked, state=TrialState.PRUNED)
            return False
        if epoch == self._epochs:
            self._study.tell(asked, value)
        return epoch < self._epochs
