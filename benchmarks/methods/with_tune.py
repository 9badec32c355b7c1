"""Ray Tune's ASHA and OptunaSearch, called as Tune's controller calls them."""

from __future__ import annotations

import types
from typing import Any

import optuna

from benchmarks.laboratory import Job, Space
from benchmarks.methods.params import suggest


class Tune:
    """ASHA's arguments are Tune's defaults, unless given."""

    def __init__(self, space: Space, epochs: int, seed: int, **asha: Any) -> None:
        from ray.tune.schedulers import ASHAScheduler
        from ray.tune.search.optuna import OptunaSearch

        def define(trial: optuna.Trial) -> None:
            suggest(trial, space)

        self._scheduler: Any = ASHAScheduler(metric="value", mode="max", max_t=epochs, **asha)
        self._searcher: Any = OptunaSearch(define, metric="value", mode="max", seed=seed)
        self._trials: list[Any] = []

    def next_job(self) -> Job:
        trial = types.SimpleNamespace(trial_id=f"{len(self._trials):05d}")
        self._trials.append(trial)
        self._scheduler.on_trial_add(None, trial)
        return Job(len(self._trials) - 1, self._searcher.suggest(trial.trial_id))

    def report(self, trial: int, epoch: int, value: float) -> bool:
        of_tune, result = self._trials[trial], {"value": value, "training_iteration": epoch}
        if self._scheduler.on_trial_result(None, of_tune, result) == "STOP":  # also at the last epoch
            self._scheduler.on_trial_complete(None, of_tune, result)
            self._searcher.on_trial_complete(of_tune.trial_id, result)
            return False
        self._searcher.on_trial_result(of_tune.trial_id, result)
        return True
