"""Studies as a search leaves them in its database, written trial by trial: what each trial gave is known beforehand."""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.storages import BaseStorage
from optuna.trial import TrialState, create_trial

from platform.read_only_study import StoredStudy

EPOCHS = 4
BEGUN = datetime(2026, 1, 1, 12, 0)
RANGES: dict[str, BaseDistribution] = {
    "optimizer": CategoricalDistribution(("sgd", "adamw")),
    "sgd_lr": FloatDistribution(1e-3, 1e-1, log=True),
    "adamw_lr": FloatDistribution(1e-4, 1e-2, log=True),
    "drop_path": FloatDistribution(0.0, 0.3),
}
# Number -> optimizer, its learning rate, drop path, mAP by epoch, how the trial ended.
COMPLETE, PRUNED, RUNNING, FAILED = TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.FAIL
TRIALS: tuple[tuple[str, float, float, tuple[float, ...], TrialState], ...] = (
    ("sgd", 0.008, 0.1, (0.20, 0.22, 0.24, 0.25), COMPLETE),
    ("adamw", 0.001, 0.0, (0.21, 0.25, 0.29, 0.30), COMPLETE),
    ("sgd", 0.09, 0.3, (0.15, 0.16), PRUNED),
    ("adamw", 0.002, 0.05, (0.25, 0.31, 0.35, 0.40), COMPLETE),
    ("adamw", 0.004, 0.2, (0.22, 0.30, 0.36, 0.38), COMPLETE),
    ("sgd", 0.02, 0.15, (0.20, 0.24, 0.27, 0.28), COMPLETE),
    ("adamw", 0.0002, 0.25, (0.18,), PRUNED),
    ("sgd", 0.05, 0.02, (), FAILED),
    ("adamw", 0.003, 0.07, (0.24, 0.30), RUNNING),
)
BASELINES = {0: "paper ViT-Base", 1: "hand-set"}


def study_by_hand(
    name: str = "by-hand",
    storage: BaseStorage | str | None = None,
    *,
    trials: Any = TRIALS,
    data: str = "0" * 64,
    ranges: dict[str, BaseDistribution] = RANGES,
    **search: Any,
) -> optuna.Study:
    """A search of TransReID at tiny scale for mAP, its trials a minute apart, two minutes an epoch."""
    study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
    identity = {"space": "transreid", "data": data, "fold": 0, "scale": "tiny", "epochs": EPOCHS, "objective": "mAP"}
    study.set_user_attr("search", {**identity, "seed": 0, **search})
    for number, (optimizer, lr, drop_path, values, state) in enumerate(trials):
        params = {"optimizer": optimizer, f"{optimizer}_lr": lr, "drop_path": drop_path}
        told = [(key, value) for key, value in params.items() if key in ranges]
        metrics = {"mAP": values[-1], "mINP": values[-1] / 2, "total_seconds": 120.0 * len(values)} if values else {}
        trial = create_trial(
            state=state,
            value=values[-1] if state == COMPLETE else None,
            params=dict(told),
            distributions={key: ranges[key] for key, _ in told},
            intermediate_values=dict(enumerate(values, start=1)),
            user_attrs={
                **({"metrics": metrics, "checkpoint": f"/nowhere/{name}/{number}"} if values else {}),
                **({"baseline": BASELINES[number]} if number in BASELINES else {}),
                **({"reason": f"pruned at epoch {len(values)}"} if state == PRUNED else {}),
                **({"reason": "it broke"} if state == FAILED else {}),
            },
        )
        trial.datetime_start = BEGUN + timedelta(minutes=number)
        if state != RUNNING:
            trial.datetime_complete = trial.datetime_start + timedelta(minutes=2 * len(values))
        study.add_trial(trial)
    return study


def stored_by_hand(**options: Any) -> StoredStudy:
    """The same, in memory and as a report reads it."""
    return StoredStudy(study=study_by_hand(**options))


def database(folder: Path) -> str:
    """The address of a database where a search keeps it."""
    return f"sqlite:///{folder / 'optuna.db'}"


def content_of(folder: Path) -> list[str]:
    """The whole of that database."""
    with contextlib.closing(sqlite3.connect(folder / "optuna.db")) as connection:
        return list(connection.iterdump())
