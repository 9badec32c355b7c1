"""Read all trials of a study from Optuna's tables column by column, without an object of SQLAlchemy for each row."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Container
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import (
    StudyModel,
    TrialIntermediateValueModel,
    TrialModel,
    TrialParamModel,
    TrialSystemAttributeModel,
    TrialUserAttributeModel,
    TrialValueModel,
)
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import select
from sqlalchemy.orm import Session


class ColumnStorage(RDBStorage):
    """Optuna's storage, except that the first look at a study takes a third of the time and less memory."""

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        if states is not None or included_trial_ids or trial_id_greater_than > -1:
            return super()._get_trials(study_id, states, included_trial_ids, trial_id_greater_than)
        with Session(self.engine) as session:
            StudyModel.find_or_raise_by_id(study_id, session)
            return _all_trials(session, study_id)


def _all_trials(session: Session, study_id: int) -> list[FrozenTrial]:
    """Return the trials of a study in the order of their IDs, as Optuna makes them of the same rows."""
    values: dict[int, dict[int, float]] = defaultdict(dict)
    for trial_id, objective, value, kind in _rows(session, study_id, TrialValueModel, "objective value value_type"):
        values[trial_id][objective] = TrialValueModel.stored_repr_to_value(value, kind)
    steps: dict[int, dict[int, float]] = defaultdict(dict)
    columns = "step intermediate_value intermediate_value_type"
    for trial_id, step, value, kind in _rows(session, study_id, TrialIntermediateValueModel, columns):
        steps[trial_id][step] = TrialIntermediateValueModel.stored_repr_to_intermediate_value(value, kind)
    params, distributions = _params(session, study_id)
    of_user = _attributes(session, study_id, TrialUserAttributeModel)
    of_system = _attributes(session, study_id, TrialSystemAttributeModel)
    trials = session.execute(
        select(
            TrialModel.trial_id,
            TrialModel.number,
            TrialModel.state,
            TrialModel._datetime_start_utc,
            TrialModel._datetime_complete_utc,
        )
        .where(TrialModel.study_id == study_id)
        .order_by(TrialModel.trial_id)
    )
    return [
        FrozenTrial(
            number=number,
            state=state,
            value=None,
            values=_in_order(values[trial_id]) if trial_id in values else None,
            datetime_start=_local(started),
            datetime_complete=_local(ended),
            params=params.get(trial_id, {}),
            distributions=distributions.get(trial_id, {}),
            user_attrs=of_user.get(trial_id, {}),
            system_attrs=of_system.get(trial_id, {}),
            intermediate_values=steps.get(trial_id, {}),
            trial_id=trial_id,
        )
        for trial_id, number, state, started, ended in trials
    ]


def _rows(session: Session, study_id: int, model: Any, columns: str) -> Any:
    """Return the trial's ID and the named columns of each row of a table, in the order in which they were written."""
    wanted = [getattr(model, column) for column in columns.split()]
    joined = select(model.trial_id, *wanted).join(TrialModel, TrialModel.trial_id == model.trial_id)
    return session.execute(joined.where(TrialModel.study_id == study_id).order_by(*model.__table__.primary_key))


def _params(
    session: Session, study_id: int
) -> tuple[dict[int, dict[str, Any]], dict[int, dict[str, BaseDistribution]]]:
    """Return trial -> its parameters, and trial -> their distributions; a distribution is parsed once."""
    known: dict[str, BaseDistribution] = {}
    params: dict[int, dict[str, Any]] = defaultdict(dict)
    distributions: dict[int, dict[str, BaseDistribution]] = defaultdict(dict)
    columns = "param_name param_value distribution_json"
    for trial_id, name, value, text in _rows(session, study_id, TrialParamModel, columns):
        if text not in known:
            known[text] = json_to_distribution(text)
        params[trial_id][name] = known[text].to_external_repr(value)
        distributions[trial_id][name] = known[text]
    return params, distributions


def _attributes(session: Session, study_id: int, model: Any) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = defaultdict(dict)
    for trial_id, key, value in _rows(session, study_id, model, "key value_json"):
        found[trial_id][key] = json.loads(value)
    return found


def _in_order(values: dict[int, float]) -> list[float]:
    """Return the values by objective.

    Raises:
        IndexError: an objective has none.
    """
    found = [0.0] * len(values)
    for objective, value in values.items():
        found[objective] = value
    return found


def _local(moment: datetime | None) -> datetime | None:
    """Convert Optuna's naive UTC to naive local time."""
    return None if moment is None else moment.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
