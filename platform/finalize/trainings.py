"""Trainings that are fixed in advance: other folds of a search's best trials, other seeds of its finalists.

Each is enqueued as a trial with fixed parameters in a separate study, and runs as the trials of a search do: with the
same attempts and checkpoints, and it resumes after a kill.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.trial import FrozenTrial, TrialState

from platform.budgets import Budget
from platform.execution import run_trials
from platform.fixed_trials import FIXED, FixedTrials, Training, count, is_left_out, training_of
from platform.resilient_storage import PatientStorage
from platform.resolved_search import ResolvedSearch
from platform.terminal.live import screen_of_part
from platform.tracking.journal import Book, Journal
from platform.trial_record import StudyRecord
from shards_tools.command import say
from shards_tools.errors import Error
from trainables.evaluation.metric_names import CLASSIFYING, RANKING

SCORES = (*RANKING, *CLASSIFYING)


def open_part(
    search_name: str,
    storage: PatientStorage,
    name: str,
    pruner: BasePruner | None = None,
    direction: Literal["maximize", "minimize"] = "maximize",
) -> optuna.Study:
    """Open the study `search_name`-`name`, or create it.

    Args:
        search_name: the name of the search's study.
        storage: the storage of both studies.
        name: the part, such as "folds" or "final".
        pruner: decides which trials of the part end early; None: none do.
        direction: of the value that its trainings report.

    Raises:
        Error: another search has this name.
    """
    study = optuna.create_study(
        study_name=f"{search_name}-{name}",
        storage=storage,
        direction=direction,
        load_if_exists=True,
        pruner=pruner or NopPruner(),
    )
    if StudyRecord(study).is_search:
        raise Error(
            f"Study {study.study_name} is a search of its own, but study {search_name} needs that name for its {name}."
            " Start this one under another name with --study NAME."
        )
    return study


def is_to_run(training: FrozenTrial | None) -> bool:
    """Whether a training is new, has failed, or was left out."""
    return training is None or training.state == TrialState.FAIL or is_left_out(training)


class Trainings(FixedTrials):
    """Runs the waiting trainings of a study.

    Args:
        study: the study of the trainings.
        search: the search that they belong to.
        book: takes their events.
        ended: called at the start, and whenever a training has ended.
    """

    def __init__(self, study: optuna.Study, search: ResolvedSearch, book: Book, ended: Callable[[], None]) -> None:
        self._ended = ended
        own = search_of_part(search, study)
        super().__init__(study, own, book, screen_of_part(own, partial(count, study)))
        ended()

    def finish(self, attempt_id: str, *, died: bool) -> None:
        super().finish(attempt_id, died=died)
        self._ended()


def search_of_part(search: ResolvedSearch, study: optuna.Study) -> ResolvedSearch:
    """Return a search that runs the trainings of `study`, without sampling, pruning and limits."""
    stores = search.stores
    return replace(
        search,
        goal=replace(search.goal, at_most={}),  # already checked by the search
        budget=Budget(trials=search.budget.trials),
        method=FIXED,
        stores=replace(stores, runs=stores.folder, study=study.study_name.removeprefix(f"{stores.study}-")),
    )


def run_part(trainings: Trainings, hours: float | None, what: str) -> None:
    """Run the waiting trainings of a study.

    Args:
        trainings: the object that runs them.
        hours: stop after this time; None: run until all are done.
        what: the name of this stage for the log.

    Raises:
        Error: a store failed or the disk is full.
    """
    states = [trial.state for trial in trainings.study.get_trials(deepcopy=False)]
    running = states.count(TrialState.RUNNING)
    resumed = f", of which {running} resume from their last checkpoint" if running else ""
    num_left = states.count(TrialState.WAITING) + running
    say(f"{what}; trainings left: {num_left}{resumed}; {trainings.resources.concurrency} at a time.")
    start = StudyRecord(trainings.study).starts + 1
    StudyRecord(trainings.study).starts = start
    with trainings.display:
        run_trials(trainings, start, hours)
    if trainings.failure:
        raise trainings.failure


class BookOfPart:
    """Passes the metrics of trainings to the journal as a part of the search's trial, whose run in MLflow has ended.

    Args:
        journal: the journal of the search.
        study: the study of the trainings.
        part: returns the name of a training's part, such as `fold_1`, which prefixes its metrics in MLflow.
    """

    def __init__(self, journal: Journal, study: optuna.Study, part: Callable[[Training], str]) -> None:
        self._journal, self._study, self._part = journal, study, part

    def append(self, kind: str, **fields: Any) -> None:
        """Append an event of a training, if it has metrics."""
        if kind != "metrics":
            return
        training = training_of(self._study.get_trials(deepcopy=False)[fields["trial"]])
        part = self._part(training)
        values = {f"{part}_{key}": value for key, value in fields["values"].items() if key in (*SCORES, "loss")}
        self._journal.append("metrics", **{**fields, "trial": training.of, "values": values}, part=part)


def note_scores(journal: Journal, number: int, step: int, part: str, scores: Mapping[str, float]) -> None:
    """Add metrics of a whole trial to the journal, such as means over folds.

    Args:
        journal: skips scores whose trial, step and part it already has.
        number: the number of the trial whose run in MLflow gets the metrics.
        step: their position on MLflow's axis: the number of folds or seeds that they cover, or the trial's last epoch.
        part: the series that they belong to, such as "folds" or "test".
        scores: name in MLflow -> value; NaN and infinities are left out.
    """
    finite = {key: value for key, value in scores.items() if math.isfinite(value)}
    journal.append("metrics", trial=number, step=step, time=time.time(), values=finite, part=part)
