"""Syne Tune's asynchronous schedulers: a training that loses a comparison pauses, and is promoted later if it fits.

MOBSTER is Klein et al. 2020: a Gaussian process over settings and epochs. Arguments are Syne Tune's defaults, except
for the rungs, which are ours.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from optuna.distributions import IntDistribution
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import lograndint, loguniform, randint, uniform
from syne_tune.optimizer import baselines
from syne_tune.optimizer.scheduler import SchedulerDecision

from benchmarks.laboratory import Job, Params, Space

LIMIT = "epochs"  # the parameter in which a scheduler says until which epoch a training goes


class SyneTune:
    """Calls a scheduler as Syne Tune's tuner does."""

    def __init__(self, space: Space, epochs: int, seed: int, *, scheduler: str) -> None:
        self._epochs = epochs
        self._scheduler = getattr(baselines, scheduler)(
            {**_config_space(space), LIMIT: epochs},
            metric="value",
            mode="max",
            resource_attr="epoch",
            max_resource_attr=LIMIT,
            type="promotion",
            grace_period=2,
            reduction_factor=3,
            random_seed=seed,
            search_options={"debug_log": False},
        )
        self._trials: dict[int, Trial] = {}

    def next_job(self) -> Job | None:
        number = len(self._trials)
        suggestion = self._scheduler.suggest(number)
        if suggestion is None:
            return None
        if suggestion.spawn_new_trial_id:
            self._trials[number] = Trial(number, suggestion.config, datetime.now())
            self._scheduler.on_trial_add(self._trials[number])
        else:
            number = suggestion.checkpoint_trial_id
            if suggestion.config is not None:  # with the epoch until which it goes now
                self._trials[number] = Trial(number, suggestion.config, datetime.now())
        return Job(number, _params(self._trials[number].config))

    def report(self, trial: int, epoch: int, value: float) -> bool:
        told, result = self._trials[trial], {"value": value, "epoch": epoch}
        if self._scheduler.on_trial_result(told, result) != SchedulerDecision.CONTINUE:
            self._scheduler.on_trial_remove(told)
            return False
        if epoch == self._epochs:
            self._scheduler.on_trial_complete(told, result)
        return epoch < self._epochs


def _config_space(space: Space) -> dict[str, Any]:
    kinds = {(True, True): lograndint, (True, False): randint, (False, True): loguniform, (False, False): uniform}
    return {
        name: kinds[isinstance(distribution, IntDistribution), distribution.log](  # type: ignore[attr-defined]
            distribution.low,  # type: ignore[attr-defined]
            distribution.high,  # type: ignore[attr-defined]
        )
        for name, distribution in space.items()
    }


def _params(config: dict[str, Any]) -> Params:
    return {name: value for name, value in config.items() if name != LIMIT}
