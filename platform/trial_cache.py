"""Optuna's cache of finished trials, extended to running ones."""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage, _StudyInfo
from optuna.storages._rdb.models import StudyModel, TrialModel
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

ENDED = tuple(state for state in TrialState if state.is_finished())
NO_TRIAL = 2**31 - 1  # no trial has a larger ID: the column has 32 bits in PostgreSQL


def _noted(name: str) -> Callable[..., Any]:
    """Return a method that writes to a trial, and notes that it has."""

    def method(self: TrialCache, trial_id: int, *arguments: Any, **options: Any) -> Any:
        try:
            return getattr(super(TrialCache, self), name)(trial_id, *arguments, **options)
        finally:  # also if it failed, because the database may have executed it
            self._changed.add(trial_id)

    return method


class TrialCache(_CachedStorage):
    """An Optuna storage that reads a running trial again only if this process or its state has changed it.

    Optuna itself reads all running trials, with all their epochs, at every look at the study: several times for each
    suggestion. Here only one process writes to trials (see lock.py). Others may add trials, or end them.
    """

    def __init__(self, database: RDBStorage) -> None:
        super().__init__(database)
        self._changed: set[int] = set()  # IDs of trials that this process has written to since it last read them
        self._looked: set[int] | None = None  # studies that the context of `looking_once` has looked at

    set_trial_param = _noted("set_trial_param")
    set_trial_state_values = _noted("set_trial_state_values")
    set_trial_intermediate_value = _noted("set_trial_intermediate_value")
    set_trial_user_attr = _noted("set_trial_user_attr")
    set_trial_system_attr = _noted("set_trial_system_attr")

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Create a trial and return its ID."""
        trial_id = super().create_new_trial(study_id, template_trial)
        self._changed.add(trial_id)
        return trial_id

    @contextmanager
    def looking_once(self) -> Iterator[None]:
        """Look for what other programs have changed only once in each study, inside the context."""
        self._looked = set()
        try:
            yield
        finally:
            self._looked = None

    def look_again(self) -> None:
        """Look once more inside the context of `looking_once`, because a connection has failed."""
        if self._looked is not None:
            self._looked.clear()

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials of a study by number, as Optuna does, which sorts them by a slower key."""
        self._read_trials_from_remote_storage(study_id)
        with self._lock:
            study = self._studies[study_id]
            if states is None or any(state in states for state in ENDED):
                found = [study.trials[number] for number in sorted(study.trials)]
            else:
                found = sorted(self._cached(study_id, study.unfinished_trial_ids), key=lambda trial: trial.number)
            chosen = found if states is None else [trial for trial in found if trial.state in states]
            return copy.deepcopy(chosen) if deepcopy else chosen

    def _read_trials_from_remote_storage(self, study_id: int) -> None:
        """Update the cache; Optuna calls this before every look at the trials of a study."""
        with self._lock:
            study = self._studies.setdefault(study_id, _StudyInfo())
            looks = self._looked is None or study_id not in self._looked
            states = self._states(study_id, study) if looks else {}
            known = {trial._trial_id: trial.state for trial in self._cached(study_id, states)}
            due = {trial_id for trial_id, state in states.items() if known.get(trial_id) != state}
            due.update(trial._trial_id for trial in self._cached(study_id, self._changed))
            self._changed -= due  # before they are read: a write during that is read next time
            if due:
                self._add_trials_to_cache(study_id, self._backend._get_trials(study_id, None, due, NO_TRIAL))
            for trial in self._cached(study_id, due.union(states)):
                if trial.state.is_finished():
                    study.unfinished_trial_ids.discard(trial._trial_id)
                    study.last_finished_trial_id = max(study.last_finished_trial_id, trial._trial_id)
                else:
                    study.unfinished_trial_ids.add(trial._trial_id)
            if self._looked is not None:
                self._looked.add(study_id)

    def _states(self, study_id: int, study: _StudyInfo) -> dict[int, TrialState]:
        """Return the states of the trials that are new or were not finished, by ID.

        Raises:
            KeyError: the study was deleted.
        """
        trial, state = TrialModel.trial_id, TrialModel.state
        is_due = or_(trial.in_(study.unfinished_trial_ids), trial > study.last_finished_trial_id)
        with self._backend.engine.connect() as connection:
            rows = connection.execute(select(trial, state).where(TrialModel.study_id == study_id, is_due)).all()
        if not rows:
            with Session(self._backend.engine) as session:
                StudyModel.find_or_raise_by_id(study_id, session)
        return {trial_id: state for trial_id, state in rows}

    def _cached(self, study_id: int, trial_ids: Iterable[int]) -> list[FrozenTrial]:
        """Return those of the trials that are of the study and in the cache."""
        trials = self._studies[study_id].trials
        places = [self._trial_id_to_study_id_and_number.get(trial_id) for trial_id in trial_ids]
        return [trials[number] for owner, number in filter(None, places) if owner == study_id and number in trials]
