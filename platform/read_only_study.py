"""Reads a study from its database without changing it, whether its search is running or finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from platform.databases import sqlite_file, study_names
from platform.objectives import last_epoch
from platform.record_checks import check_study, check_trial
from platform.resilient_storage import DAMAGE, DatabaseAway, cause_of, open_database
from platform.study import chosen_trial, final_training
from platform.study_outline import STATES
from platform.trial_record import StudyRecord, TrialRecord
from shards_tools.command import say
from shards_tools.errors import Error, reason_of, unknown
from shards_tools.records import short_repr

PARTS = ("folds", "fold-trainings", "final", "final-train")  # of a study, each a study of its own
# Raised by Optuna and SQLAlchemy if a database does not answer or has no studies of a search.
UNREADABLE = (OSError, ImportError, ValueError, RuntimeError, sqlalchemy.exc.SQLAlchemyError, StorageInternalError)
DAMAGED = (*UNREADABLE, *DAMAGE, Error)  # and if it has something else than a search has written


@dataclass(frozen=True, kw_only=True)
class StoredStudy:
    """A search with its parts: the candidates on other folds, their trainings, finalists and final training.

    All of it is read once, so that what a report says is of one moment, even while the search runs.
    """

    study: optuna.Study
    candidates: Sequence[FrozenTrial] = ()
    fold_trainings: Sequence[FrozenTrial] = ()
    final_trainings: Sequence[FrozenTrial] = ()
    trained_on_val: Sequence[FrozenTrial] = ()  # the trainings of --final-train
    final: StudyRecord | None = None  # the finalists and their test metrics

    @property
    def name(self) -> str:
        """The name of the study."""
        return self.study.study_name

    @cached_property
    def search(self) -> Mapping[str, Any]:
        """The options that define the search: space, scale, fold and so on."""
        return StudyRecord(self.study).search

    @cached_property
    def last_start(self) -> Mapping[str, Any]:
        """The record of the last start; empty before the first."""
        return StudyRecord(self.study).last_start

    @cached_property
    def elected(self) -> Mapping[str, Any]:
        """The finalists and the options they were chosen with; empty before they are chosen."""
        return self.final.elected if self.final else {}

    @cached_property
    def test_metrics(self) -> dict[int, dict[str, float]]:
        """Number of a finalist's training -> its metrics on the test split."""
        return self.final.test_metrics if self.final else {}

    @cached_property
    def objectives(self) -> tuple[str, ...]:
        """The objectives; the first decides which trial is best."""
        return tuple(self.search["objective"].split())

    @property
    def objective(self) -> str:
        """The first objective."""
        return self.objectives[0]

    @cached_property
    def trials(self) -> list[FrozenTrial]:
        """All trials that have started, without those that were canceled before."""
        trials = self.study.get_trials(deepcopy=False)
        return [one for one in trials if one.state != TrialState.WAITING and not TrialRecord(one).left_out]

    @cached_property
    def best(self) -> FrozenTrial | None:
        """The best trial; None if no trial is complete."""
        return chosen_trial(self.study)

    @cached_property
    def final_training(self) -> FrozenTrial | None:
        """The training of the best trial on train and val; None if it was not trained so."""
        return final_training(self.study, self.trained_on_val)

    @cached_property
    def baselines(self) -> list[FrozenTrial]:
        """The baselines that have a value, the papers' rows first; of a retried baseline, its last trial."""
        rows = {TrialRecord(trial).baseline: trial for trial in self.trials if TrialRecord(trial).baseline}
        evaluated = [trial for trial in rows.values() if value_of(trial, self.objective) is not None]
        return sorted(evaluated, key=lambda trial: (not TrialRecord(trial).is_paper_row, trial.number))

    @property
    def best_paper_row(self) -> FrozenTrial | None:
        """The best of the papers' rows; None if none has a value."""
        rows = [trial for trial in self.baselines if TrialRecord(trial).is_paper_row]
        return max(rows, key=lambda trial: value_of(trial, self.objective) or 0.0, default=None)


def count(stored: StoredStudy) -> dict[str, int]:
    """Return the number of trials that ended in each state, and of those that are running."""
    states = [trial.state for trial in stored.trials]
    ended = {name: states.count(state) for name, state in STATES.items()}
    return {**ended, "running": states.count(TrialState.RUNNING)}


def value_of(trial: FrozenTrial, name: str) -> float | None:
    """Return a metric or a cost from the trial's last report; None before the first report."""
    return TrialRecord(trial).metrics.get(name)


def num_epochs(trial: FrozenTrial) -> int:
    """Return the number of epochs that the trial has trained."""
    return last_epoch(trial) or 0


def open_read_only(url: str) -> RDBStorage:
    """Open the database at `url` read-only.

    Raises:
        Error: it cannot be read, is another program's, has another version, or has no study yet.
    """
    try:
        file = sqlite_file(url)
        if file and not file.is_file():
            raise Error(f"{file} does not exist. Run a search first, or give its folder with --runs.")
        return open_database(url, read_only=True, waits=False)
    except (*UNREADABLE, DatabaseAway) as failure:
        raise _unreadable(url, failure) from None


def folder_of_study(runs: Path, storage: str, study: str) -> Path:
    """Return the folder of --runs that has a study: `runs`, or the folder of an SQLite database that is elsewhere."""
    file = sqlite_file(storage)
    elsewhere = file is not None and not (runs / study).is_dir() and (file.parent / study).is_dir()
    return file.parent if file and elsewhere else runs


def searches(storage: RDBStorage, url: str) -> list[optuna.Study]:
    """Return the searches in the database; studies that are a part of a search, such as its folds, are left out.

    A study that is damaged is left out with a line.

    Raises:
        Error: the database cannot be read.
    """
    try:
        names = study_names(storage.engine)
    except UNREADABLE as failure:
        raise _unreadable(url, failure) from None
    studies = []
    for name in names:
        try:
            study = optuna.load_study(study_name=name, storage=storage)
            if StudyRecord(study).is_search:
                studies.append(study)
        except DAMAGED as failure:
            say(f"Left out: {damaged(name, failure)}")
    return studies


def damaged(study: str, failure: Exception) -> Error:
    """Return the error for a study that cannot be read."""
    return Error(
        f"Study {short_repr(study)} is damaged ({reason_of(failure).rstrip('.')}). Restore the database from a copy."
    )


def read_study(storage: RDBStorage, url: str, name: str) -> StoredStudy:
    """Return the search called `name` with its parts.

    Raises:
        Error: there is none; the message suggests the nearest. Or it is damaged.
    """
    known = {study.study_name: study for study in searches(storage, url)}
    if not known:
        raise Error(f"{url} has no study yet. Run a search first.")
    if name not in known:
        raise unknown("study", name, known)
    try:
        check_stored(known[name])
        parts = {part: _part(storage, f"{name}-{part}") for part in PARTS}
        trials = {part: found.get_trials(deepcopy=False) if found else [] for part, found in parts.items()}
    except DAMAGED as failure:
        raise damaged(name, failure) from None
    final = parts["final"]
    return StoredStudy(
        study=known[name],
        candidates=trials["folds"],
        fold_trainings=trials["fold-trainings"],
        final_trainings=trials["final"],
        trained_on_val=trials["final-train"],
        final=StudyRecord(final) if final else None,
    )


def check_stored(study: optuna.Study) -> None:
    """Check that a search can have written all that the database says about it.

    Raises:
        Exception: it cannot; or whatever Optuna raises for damage.
    """
    check_study(study)
    for trial in study.get_trials(deepcopy=False):
        check_trial(trial, len(study.directions))


def _part(storage: RDBStorage, name: str) -> optuna.Study | None:
    """Return a part of a search; None if it has none, or if the study of this name is a search itself."""
    try:
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return None
    return None if StudyRecord(study).is_search else study


def _unreadable(url: str, failure: Exception) -> Error:
    remedy = "Give the database of a search with --storage: sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME."
    return Error(f"Optuna's database {url} cannot be read: {cause_of(failure)}. {remedy}")
