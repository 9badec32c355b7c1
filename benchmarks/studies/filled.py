"""Fills a study with trials as the platform leaves them: random parameters, curves pruned by successive halving."""

from __future__ import annotations

import bisect
import json
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.storages._rdb.models import (
    TrialIntermediateValueModel,
    TrialModel,
    TrialParamModel,
    TrialSystemAttributeModel,
    TrialUserAttributeModel,
    TrialValueModel,
)
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from platform.resilient_storage import PatientStorage
from platform.resolved_search import ResolvedSearch
from platform.samplers.pruning import REDUCTION_FACTOR
from platform.tracking.events import start_of
from platform.trial_record import TrialRecord
from trainables.recipes.settings import as_stored

EPOCHS = 54  # rungs at 2, 6 and 18
METRICS = (
    "mAP", "mINP", "cmc_1", "cmc_5", "cmc_10", "cmc_20", "num_valid_queries", "loss", "id_loss", "metric_loss", "lr",
    "seconds", "images_per_second", "rss_mb", "total_seconds",
)  # fmt: skip


class Curves:
    """Learning curves that rise higher and faster the nearer `lr` and `weight_decay` are to their best, with noise."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def __call__(self, params: dict[str, Any]) -> NDArray[np.float64]:
        """Return the objective after each epoch."""
        miss = abs(np.log10(params["lr"]) + 3) + 0.3 * abs(np.log10(params["weight_decay"]) + 3)
        epochs = np.arange(1, EPOCHS + 1)
        noise = self._random.normal(0, 0.01, EPOCHS)
        curve: NDArray[np.float64] = (0.2 + 0.6 / (1 + miss)) * (1 - np.exp(-epochs / (8 + 4 / (1 + miss)))) + noise
        return curve


class Filler:
    """Makes trials as the platform leaves them in the database."""

    def __init__(self, search: ResolvedSearch, curves: Curves) -> None:
        self._search, self._curves = search, curves
        self._sampler = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        self._space = {key: json_to_distribution(text) for key, text in search.setup.space.distributions.items()}

    def finished(self, number: int, rungs: dict[str, list[float]]) -> FrozenTrial:
        """Return a finished trial; `rungs` has the ascending values at each of Optuna's rung names."""
        params = self._params()
        curve = self._curves(params)
        end, reached = EPOCHS, {}
        for (name, values), rung in zip(rungs.items(), self._search.setup.rungs[:-1], strict=True):
            value = float(curve[rung - 1])
            bisect.insort(values, value)
            reached[name] = value
            if value < values[-max(1, len(values) // REDUCTION_FACTOR)]:
                end = rung
                break
        pruned: dict[str, object] = {"pruned_at": end, "reason": f"pruned at epoch {end}"} if end < EPOCHS else {}
        state = TrialState.PRUNED if pruned else TrialState.COMPLETE
        return self._trial(number, params, curve[:end], state, reached, **pruned)

    def running(self, number: int, epochs: int) -> FrozenTrial:
        """Return a trial that an earlier start has trained for some epochs."""
        params = self._params()
        return self._trial(number, params, self._curves(params)[:epochs], TrialState.RUNNING, {})

    def _params(self) -> dict[str, Any]:
        return self._sampler.ask(self._space).params

    def _trial(
        self,
        number: int,
        params: dict[str, Any],
        curve: NDArray[np.float64],
        state: TrialState,
        reached: dict[str, float],
        **ending: object,
    ) -> FrozenTrial:
        folder = self._search.stores.folder / "start-001" / f"trial-{number:04d}-1"
        trial = create_trial(
            state=state,
            value=float(curve[-1]) if state == TrialState.COMPLETE else None,
            params=params,
            distributions=self._space,
            intermediate_values={epoch: float(value) for epoch, value in enumerate(curve, 1)},
            system_attrs=reached,
        )
        trial.number = number
        trial.user_attrs = TrialRecord.attributes(
            attempts=1,
            checkpoint=f"{folder}/checkpoint_{len(curve):06d}",
            metrics=metrics_of(float(curve[-1])),
            settings=as_stored(self._search.setup.recipe(trial)),
            **ending,
        )
        return trial


def metrics_of(value: float) -> dict[str, float]:
    """Return what a trial reports after an epoch."""
    return {**dict.fromkeys(METRICS, 0.123456789012345), "mAP": value}


def write_journal(search: ResolvedSearch, trials: Sequence[FrozenTrial], path: Path) -> int:
    """Write the events of some trials as a search does, but without waiting for the disk; return their number."""
    moment = time.time()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        num_events = 0
        for trial in trials:
            for event in _events(search, trial):
                moment += 0.001
                file.write(json.dumps({**event, "time": moment}) + "\n")
                num_events += 1
    return num_events


def _events(search: ResolvedSearch, trial: FrozenTrial) -> Iterator[dict[str, Any]]:
    yield {"kind": "trial", **start_of(trial, search.setup.recipe(trial), search.setup, search.method)}
    for epoch, value in trial.intermediate_values.items():
        yield {"kind": "metrics", "trial": trial.number, "step": epoch, "values": metrics_of(value)}
    if trial.state.is_finished():
        yield {"kind": "end", "trial": trial.number, "state": trial.state.name, "reason": TrialRecord(trial).reason}


def store(storage: PatientStorage, study: optuna.Study, trials: Sequence[FrozenTrial]) -> None:
    """Write `trials` row by row as Optuna does, but in one transaction: one by one they would take an hour."""
    first = len(study.get_trials(deepcopy=False))
    rows: dict[Any, list[dict[str, Any]]] = {}
    with Session(storage.engine) as session:
        last = session.scalar(select(func.max(TrialModel.trial_id))) or 0
        for place, trial in enumerate(trials):
            head = {"trial_id": last + 1 + place, "number": first + place, "study_id": study._study_id}
            for model, row in _rows(trial, head):
                rows.setdefault(model, []).append(row)
        for model, values in rows.items():
            session.execute(insert(model), values)
        if storage.engine.dialect.name == "postgresql":  # its own count did not see these
            counter = func.pg_get_serial_sequence("trials", "trial_id")
            session.execute(select(func.setval(counter, last + len(trials))))
        session.commit()
    stored = study.get_trials(deepcopy=False)[first:]
    assert list(map(_content, stored)) == list(map(_content, trials))


def _rows(trial: FrozenTrial, head: dict[str, Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield the table and the columns of each row of a trial."""
    now = datetime.now()
    ended = now if trial.state.is_finished() else None
    yield TrialModel, {**head, "state": trial.state, "_datetime_start_utc": now, "_datetime_complete_utc": ended}
    own = {"trial_id": head["trial_id"]}
    for name, distribution in trial.distributions.items():
        value = distribution.to_internal_repr(trial.params[name])
        text = distribution_to_json(distribution)
        yield TrialParamModel, {**own, "param_name": name, "param_value": value, "distribution_json": text}
    finite = TrialIntermediateValueModel.TrialIntermediateValueType.FINITE
    for step, value in trial.intermediate_values.items():
        number = {"intermediate_value": value, "intermediate_value_type": finite}
        yield TrialIntermediateValueModel, {**own, "step": step, **number}
    if trial.value is not None:
        kind = TrialValueModel.TrialValueType.FINITE
        yield TrialValueModel, {**own, "objective": 0, "value": trial.value, "value_type": kind}
    for key, value in trial.user_attrs.items():
        yield TrialUserAttributeModel, {**own, "key": key, "value_json": json.dumps(value)}
    for key, value in trial.system_attrs.items():
        yield TrialSystemAttributeModel, {**own, "key": key, "value_json": json.dumps(value)}


def _content(trial: FrozenTrial) -> tuple[Any, ...]:
    return trial.state, trial.params, trial.values, trial.intermediate_values, trial.user_attrs, trial.system_attrs
