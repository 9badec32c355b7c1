"""The steps of every start, of a search or a reproduction: open the study, track in MLflow, start Ray, run trials."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import optuna

from platform.environment import code_version, start_of_search
from platform.execution import run_trials
from platform.failures import refuse_full_disk
from platform.lock import only_driver
from platform.resilient_storage import PatientStorage
from platform.resolved_search import ResolvedSearch
from platform.study import open_storage, open_study
from platform.tracking.datasets import data_of
from platform.tracking.events import search_tags
from platform.tracking.journal import Journal
from platform.tracking.tracker import Tracker
from platform.trial_record import StudyRecord
from platform.trials import Trials
from shards_tools.command import say
from shards_tools.redaction import redact

# An unreachable MLflow store delays the start and the end by at most this; the next start sends queued events.
LONGEST_WAIT_FOR_MLFLOW_S = 60.0
LONGEST_WAIT_AFTER_AN_ERROR_S = 2.0


@contextmanager
def opened_study(search: ResolvedSearch) -> Iterator[tuple[optuna.Study, PatientStorage, Journal]]:
    """Open a study, its storage and its journal inside the context, as the only driver of the study.

    Raises:
        Error: another driver runs the study, it was started with other options, a store fails, or the disk is full.
    """
    stores = search.stores
    storage = open_storage(stores.storage)
    with (
        refuse_full_disk(stores.runs),
        only_driver(stores, storage),
        Journal(stores.folder / "journal.jsonl") as journal,
    ):
        yield open_study(search, storage), storage, journal


@contextmanager
def tracked(search: ResolvedSearch, journal: Journal) -> Iterator[Tracker]:
    """Send the journal to MLflow inside the context; after an error, do not wait long for an unreachable store."""
    stores = search.stores
    tracker = Tracker(
        journal,
        uri=stores.tracking,
        artifacts=stores.runs / "artifacts",
        study=stores.study,
        params={key: value for key, value in search.identity().items() if value is not None},
        tags=study_tags(search),
        data=data_of(search.setup),
    )
    tracker.start()
    wait_s = LONGEST_WAIT_AFTER_AN_ERROR_S
    try:
        yield tracker
        wait_s = LONGEST_WAIT_FOR_MLFLOW_S
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
    if not tracker.ready.wait(LONGEST_WAIT_FOR_MLFLOW_S) and not tracker.trouble:
        store = redact(trials.stores.tracking)
        say(f"MLflow's store {store} has not answered yet. Training continues; events are queued on disk.")
    with trials.display:
        run_trials(trials, number, hours)
    if trials.failure:
        raise trials.failure


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
