"""Count the trials of a study and find its best value without reading the trials, which takes seconds for thousands."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial
from sqlalchemy import text

from platform.spaces.constraints import is_over
from platform.trial_record import StudyRecord, TrialRecord
from shards_tools.errors import Error
from shards_tools.records import short_repr

COUNTS = """
SELECT state, COUNT(*) FROM trials WHERE study_id = :study AND trial_id NOT IN
(SELECT trial_id FROM trial_user_attributes WHERE key = :left_out AND value_json = 'true') GROUP BY state
"""
VALUES = """
SELECT trials.trial_id, number, value FROM trials JOIN trial_values ON trial_values.trial_id = trials.trial_id
WHERE study_id = :study AND state = 'COMPLETE' AND objective = 0
"""
CONSTRAINTS = """
SELECT trials.trial_id, key, value_json FROM trials
JOIN trial_system_attributes ON trial_system_attributes.trial_id = trials.trial_id
WHERE study_id = :study AND key LIKE 'constraints%'
"""
STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


@dataclass(frozen=True)
class Outline:
    """What a list of studies says about the trials of one."""

    trials: Mapping[str, int]  # state -> number of trials
    best: float | None  # the first objective of the best trial; None if no trial is complete


def read_outline(storage: RDBStorage, study: optuna.Study) -> Outline:
    """Return the outline of a study.

    Raises:
        Error: a value cannot come from a search.
    """
    own = {"study": study._study_id}
    with storage.engine.connect() as connection:
        counts = dict(_rows(connection, COUNTS, {**own, "left_out": TrialRecord.left_out.key}))
        values = _rows(connection, VALUES, own)
        constraints = _rows(connection, CONSTRAINTS, own)
    for _, number, value in values:
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise Error(f"trial {short_repr(number)} has the value {short_repr(value)}")
    best_by_mean, over = StudyRecord(study).best_by_mean, _over(constraints)
    if best_by_mean is None:
        # With several objectives too: the trial with the highest first objective is always on the Pareto front.
        allowed = [value for trial_id, _, value in values if trial_id not in over]
    else:
        allowed = [value for _, number, value in values if number == best_by_mean]
    running = {"running": int(counts.get(TrialState.RUNNING.name, 0))}
    return Outline(
        trials={**{name: int(counts.get(state.name, 0)) for name, state in STATES.items()}, **running},
        best=max(map(float, allowed), default=None),
    )


def _rows(connection: sqlalchemy.Connection, query: str, values: Mapping[str, Any]) -> list[Any]:
    return [tuple(row) for row in connection.execute(text(query), values)]


def _over(constraints: list[tuple[int, str, str]]) -> set[int]:
    """Return the IDs of the trials that exceed a limit of --at-most."""
    by_trial: dict[int, dict[str, Any]] = defaultdict(dict)
    for trial_id, key, value in constraints:
        by_trial[trial_id][key] = json.loads(value)
    return {
        trial_id
        for trial_id, attributes in by_trial.items()
        if is_over(create_trial(state=TrialState.FAIL, system_attrs=attributes))
    }
