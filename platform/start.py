"""The steps of every start, of a search or a reproduction: open the study, track in MLflow, start Ray, run trials."""

from __future__ import annotations

import gc
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import optuna

from platform.checkpoints import Checkpoints
from platform.environment import code_version, start_of_search
from platform.execution import run_trials
from platform.failures import refuse_full_disk
from platform.lock import only_driver
from platform.resilient_storage import PatientStorage
from platform.resolved_search import ResolvedSearch
from platform.run_paths import use_runs
from platform.stores import TRACKING_NAME, Stores, default_storage, default_tracking, make_runs
from platform.study import open_storage, open_study
from platform.tracking.datasets import data_of
from platform.tracking.events import search_tags
from platform.tracking.journal import Journal
from platform.tracking.local_store import check_store
from platform.tracking.moved_artifacts import follow_move
from platform.tracking.quiet_mlflow import warn_of_ignored
from platform.tracking.study_runs import STUDY_TAG
from platform.tracking.tracker import SILENT_S, Tracker
from platform.trial_record import StudyRecord
from platform.trials import Trials
from shards_tools.command import command_line, say
from shards_tools.errors import Error

# An unreachable MLflow store delays the start and the end by at most this; the next start sends queued events.
LONGEST_WAIT_FOR_MLFLOW_S = 60.0
LONGEST_WAIT_AFTER_AN_ERROR_S = 2.0
WAIT_FOR_ABSENT_MLFLOW_S = 5.0  # at the end, for a store that has failed or a server that is silent since the start


@contextmanager
def opened_study(search: ResolvedSearch) -> Iterator[tuple[optuna.Study, PatientStorage, Journal]]:
    """Open a study, its storage and its journal inside the context, as the only driver of the study.

    Raises:
        Error: another driver runs the study, it was started with other options, a store fails, or the disk is full.
    """
    stores = search.stores
    is_in_runs = stores.storage == default_storage(stores.runs)
    # A database that cannot be used is refused before a folder is made.
    check_store(stores)
    storage = None if is_in_runs else open_storage(stores.storage)
    make_runs(stores.runs)
    use_runs(stores.runs)
    storage = storage or open_storage(stores.storage)
    with (
        refuse_full_disk(stores.runs),
        only_driver(stores, storage),
        Journal(stores.folder / "journal.jsonl") as journal,
    ):
        _refuse_another_journal(stores, storage, journal)
        study = open_study(search, storage)
        if not StudyRecord(study).study_id:
            StudyRecord(study).study_id = uuid.uuid4().hex
        if not journal.owner:
            journal.owner = StudyRecord(study).study_id
        Checkpoints(study, search.stores).clean_up_ended_outside(journal.unended)
        yield study, storage, journal


def _refuse_another_journal(stores: Stores, storage: PatientStorage, journal: Journal) -> None:
    """Refuse a journal of an earlier study of the same name: MLflow would get the trials of both under one name.

    Raises:
        Error: the study was deleted from its database, or that was lost.
    """
    try:
        own = StudyRecord(optuna.load_study(study_name=stores.study, storage=storage)).study_id
        # A study or a journal of an earlier version has no ID; neither has a study whose first start was killed.
        is_own = not own or journal.owner in ("", own)
    except KeyError:
        is_own = not journal.size()
    if not is_own:
        command = command_line("platform.studies", "delete", stores.study, "--runs", stores.runs)
        raise Error(
            f"{stores.folder} belongs to an earlier study of this name, which is not in Optuna's database any more."
            f" Restore the database, or delete the folder and its runs in MLflow: {command}"
        )


@contextmanager
def tracked(search: ResolvedSearch, journal: Journal) -> Iterator[Tracker]:
    """Send the journal to MLflow inside the context; after an error, do not wait long for an unreachable store."""
    stores = search.stores
    warn_of_ignored(stores.tracking)
    if stores.tracking == default_tracking(stores.runs):
        follow_move(stores.runs / TRACKING_NAME, stores.study, stores.runs / "artifacts")
    tracker = Tracker(
        journal,
        uri=stores.tracking,
        artifacts=stores.runs / "artifacts",
        study=stores.study,
        params={key: value for key, value in search.identity().items() if value is not None},
        tags={**study_tags(search), STUDY_TAG: journal.owner},
        data=data_of(search.setup),
    )
    tracker.start()
    wait_s = LONGEST_WAIT_AFTER_AN_ERROR_S
    try:
        yield tracker
        is_absent = not tracker.ready.is_set() and (tracker.trouble or stores.tracking.startswith("http"))
        wait_s = WAIT_FOR_ABSENT_MLFLOW_S if is_absent else LONGEST_WAIT_FOR_MLFLOW_S
    finally:
        tracker.close(wait_s)


def recorded_start(study: optuna.Study, search: ResolvedSearch, start_ray: Callable[[], None]) -> Callable[[], None]:
    """Return a function that records this start in the study, then starts Ray."""

    def start() -> None:
        StudyRecord(study).last_start = start_of_search(search)
        start_ray()

    return start


def run_start(trials: Trials, tracker: Tracker, start: Callable[[], None], hours: float | None = None) -> None:
    """Start Ray and run the remaining trials.

    Args:
        trials: decides which trials remain and what runs next.
        tracker: sends the journal to MLflow; the trials wait for its store for at most a minute.
        start: records this start in the study and starts Ray.
        hours: stop after this time; None: without a limit.

    Raises:
        Error: a store failed or the disk is full.
    """
    number = StudyRecord(trials.study).starts + 1
    StudyRecord(trials.study).starts = number
    start()
    # The tracker creates MLflow's store while Ray starts; it must exist before the first trial does.
    _wait_for_mlflow(tracker, trials.stores.tracking)
    gc.freeze()  # or the collector would traverse thousands of stored trials during suggestions
    try:
        with trials.display:
            run_trials(trials, number, hours)
    finally:
        gc.unfreeze()
    if trials.failure:
        raise trials.failure


def _wait_for_mlflow(tracker: Tracker, uri: str) -> None:
    """Wait for MLflow's store until it answers or fails; making the tables of a new file takes longer than a server."""
    begun, announced = time.monotonic(), False
    limit_s = min(SILENT_S, LONGEST_WAIT_FOR_MLFLOW_S) if uri.startswith("http") else LONGEST_WAIT_FOR_MLFLOW_S
    while not tracker.ready.wait(0.1) and not tracker.trouble:
        waited_s = time.monotonic() - begun
        if waited_s > limit_s:
            say(f"MLflow's store {uri} has not answered for {limit_s:.0f} s. Events are queued on disk.")
            return
        if waited_s > SILENT_S and not announced:
            say(f"MLflow's store {uri} is being opened. Waiting up to {limit_s:.0f} s.")
            announced = True


def study_tags(search: ResolvedSearch) -> dict[str, str]:
    """Return the parent run's tags: the data, the code and the command of the start that created it."""
    return {
        **search_tags(search.setup, search.method),
        "data": search.setup.manifest.fingerprint,
        "data_folder": search.setup.data,
        "code_version": code_version(),
        "mlflow.source.name": search.command,
        "mlflow.source.type": "LOCAL",
    }
