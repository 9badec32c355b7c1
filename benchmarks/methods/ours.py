"""The platform's default sampler and pruner."""

from __future__ import annotations

import types
from typing import Any

import optuna

from benchmarks.laboratory import Job, Space
from benchmarks.methods.params import suggest
from benchmarks.methods.with_optuna import WithOptuna
from platform.samplers.pruning import make_pruner, rungs_of, should_stop
from platform.samplers.samplers import reseed


class Ours(WithOptuna):
    """Suggests and stops as a search does."""

    def __init__(self, space: Space, epochs: int, seed: int) -> None:
        self._rungs, self._seed = rungs_of(epochs, warmup=0), seed
        study = optuna.create_study(direction="maximize", pruner=make_pruner("halving", self._rungs))
        super().__init__(space, epochs, study)

    def next_job(self) -> Job:
        space: Any = types.SimpleNamespace(suggest=lambda trial: suggest(trial, self._space))
        reseed(self._study, "rungwise", space=space, rungs=self._rungs, seed=self._seed)
        return super().next_job()

    def _stops(self, trial: optuna.Trial, epoch: int) -> bool:
        return should_stop(trial, epoch, self._epochs)
