"""A study of thousands of trials without Ray, for `benchmarks/search_overhead.py`: the driver's cost per trial.

Trials go through the platform's own records (`platform/trials.py`) into SQLite, with the callbacks that Ray would make.
Most of a study is filled in as finished trials with random parameters and curves pruned by successive halving. The last
hundred before each size are real ones, timed from the ask to the end.
"""

from __future__ import annotations

import bisect
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
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
from platform.study import open_storage, open_study
from platform.terminal.lines import Display
from platform.tracking.journal import Journal
from platform.trial_record import TrialRecord
from platform.trials import Trials
from trainables.training.trial_report import TrialReport

NUM_TIMED = 100
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
    """Makes finished trials, as the platform leaves them in the database."""

    def __init__(self, search: ResolvedSearch, curves: Curves) -> None:
        self._search, self._curves = search, curves
        self._sampler = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        self._space = {key: json_to_distribution(text) for key, text in search.setup.space.distributions.items()}

    def trial(self, number: int, rungs: dict[str, list[float]]) -> FrozenTrial:
        """Return one trial; `rungs` has the ascending values at each of Optuna's rung names."""
        params = self._sampler.ask(self._space).params
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
        folder = self._search.stores.folder / "start-001" / f"trial-{number:04d}-1"
        now = dict.fromkeys(METRICS, 0.123456789012345)
        return create_trial(
            state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
            value=None if pruned else float(curve[-1]),
            params=params,
            distributions=self._space,
            intermediate_values={epoch: float(curve[epoch - 1]) for epoch in range(1, end + 1)},
            user_attrs=TrialRecord.attributes(
                attempts=1, checkpoint=f"{folder}/checkpoint_{end:06d}", metrics=now, **pruned
            ),
            system_attrs=reached,
        )


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
        session.commit()
    stored = study.get_trials(deepcopy=False)[first:]
    assert list(map(_content, stored)) == list(map(_content, trials))


def _rows(trial: FrozenTrial, head: dict[str, Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield the table and the columns of each row of a trial."""
    now = datetime.now()
    yield TrialModel, {**head, "state": trial.state, "_datetime_start_utc": now, "_datetime_complete_utc": now}
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


def grow(search: ResolvedSearch, sizes: Sequence[int]) -> dict[int, dict[str, float]]:
    """Return, by size of the study: ask in ms (median, 95th percentile, CPU), report and end in ms, bytes per trial."""
    storage = open_storage(search.stores.storage)
    study = open_study(search, storage)
    curves = Curves(0)
    filler = Filler(search, curves)
    found = {}
    with Journal(search.stores.folder / "journal.jsonl") as journal:
        for size in sizes:
            rungs = _rungs(study, search)
            numbers = range(len(study.get_trials(deepcopy=False)), size - NUM_TIMED)
            store(storage, study, [filler.trial(number, rungs) for number in numbers])
            larger = replace(search, budget=replace(search.budget, trials=size))
            trials = Trials(study, larger, journal, Display(study, search.goal))
            found[size] = _timed(trials, curves)
            found[size]["bytes"] = os.path.getsize(search.stores.storage.removeprefix("sqlite:///")) / size
    return found


def _rungs(study: optuna.Study, search: ResolvedSearch) -> dict[str, list[float]]:
    names = [f"completed_rung_{number}" for number in range(len(search.setup.rungs) - 1)]
    done = [trial.system_attrs for trial in study.get_trials(deepcopy=False)]
    return {name: sorted(attrs[name] for attrs in done if name in attrs) for name in names}


def _timed(trials: Trials, curves: Curves) -> dict[str, float]:
    """Measure the driver for NUM_TIMED trials, one after another."""
    asks, cpus, reports, ends = [], [], [], []
    for number in range(NUM_TIMED):
        attempt = f"attempt {number}"
        cpu = time.process_time()
        config, seconds = _clocked(trials.start, attempt)
        cpus.append(time.process_time() - cpu)
        asks.append(seconds)
        assert config is not None
        settings = {"weight_decay": 1e-4, "lr": 1e-3, **config["settings"]}
        for epoch, value in enumerate(curves(settings), 1):
            numbers = dict.fromkeys(METRICS, 0.123456789012345)
            metrics = {**numbers, "mAP": float(value), "epoch": epoch, "time": time.time()}
            report = TrialReport(metrics=metrics, reading="decoded")
            goes_on, seconds = _clocked(trials.report, attempt, report)
            reports.append(seconds)
            if not goes_on:
                break
        ends.append(_clocked(partial(trials.finish, died=False), attempt)[1])
    return {
        "ask": 1000 * statistics.median(asks),
        "ask_95": 1000 * float(np.quantile(asks, 0.95)),
        "ask_cpu": 1000 * statistics.median(cpus),
        "report": 1000 * statistics.median(reports),
        "end": 1000 * statistics.median(ends),
    }


def _clocked(call: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    answer = call(*arguments)
    return answer, time.perf_counter() - start
