"""Check what a database says about a study and its trials, which damage or a stranger may have written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from platform.spaces.constraints import is_over
from platform.trial_record import Record, Stored, StudyRecord, TrialRecord
from shards_tools.errors import Error
from shards_tools.records import short_repr

DEFINING = ("space", "scale", "objective")  # texts that every search stores among its options


def check_study(study: optuna.Study) -> None:
    """Check the types of a search's entries.

    Raises:
        Error: an entry cannot come from a search.
    """
    _check_record(StudyRecord(study))
    search = StudyRecord(study).search
    for key in DEFINING:
        if not isinstance(search.get(key), str) or not search[key]:
            raise Error(f"search has {key}={short_repr(search.get(key))}")


def check_trial(trial: FrozenTrial, num_objectives: int) -> None:
    """Check the values of a trial, and the types of its entries.

    Raises:
        Error: they cannot come from a search; the message says what and is no sentence.
        TypeError: its constraints cannot be compared with a limit.
    """
    values = trial.values if trial.state == TrialState.COMPLETE else [0.0] * num_objectives
    if values is None or len(values) != num_objectives or not all(map(_is_finite, values)):
        raise Error(f"trial {short_repr(trial.number)} has the values {short_repr(values)}")
    if not all(map(_is_number, trial.intermediate_values.values())):
        raise Error(f"trial {trial.number} has the intermediate values {short_repr(trial.intermediate_values)}")
    try:
        is_over(trial)
        _check_record(TrialRecord(trial))
        metrics = TrialRecord(trial).metrics
        if not all(map(_is_number, metrics.values())):
            raise Error(f"metrics={short_repr(metrics)}")
    except Error as wrong:
        raise Error(f"trial {trial.number} has {wrong}") from None


def _check_record(record: Record) -> None:
    for name, field in vars(type(record)).items():
        if isinstance(field, Stored) and not isinstance(value := getattr(record, name), _kinds(field)):
            raise Error(f"{field.key}={short_repr(value)}")


def _kinds(field: Stored[Any]) -> tuple[type, ...]:
    """Return the types that a field may have in the database."""
    if field is TrialRecord.trained:
        return (int, str)
    default = field.default
    if default is None:
        return (int, type(None))
    if isinstance(default, Mapping):
        return (Mapping,)
    return (list, tuple) if isinstance(default, tuple) else (type(default),)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
