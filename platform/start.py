"""The steps of every start, of a search or a reproduction: record it, start Ray, track in MLflow, run the trials."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import optuna

from platform.environment import code_version, start_of_search
from platform.execution import run_trials
from platform.plan import Plan
from platform.resilient_storage import without_password
from platform.tracking.datasets import data_of
from platform.tracking.events import search_tags
from platform.tracking.journal import Journal
from platform.tracking.mlflow_sink import Tracker
from platform.trial_record import StudyRecord
from platform.trials import Trials
from shards_tools.command import say

# An unreachable MLflow store delays the start and the end by at most this; the next start sends queued events.
LONGEST_WAIT_FOR_MLFLOW_S = 60.0
LONGEST_WAIT_AFTER_AN_ERROR_S = 2.0


@contextmanager
def tracked(plan: Plan, journal: Journal) -> Iterator[Tracker]:
    """Send the journal to MLflow inside the context; after an error, do not wait long for an unreachable store."""
    tracker = Tracker(
        journal,
        uri=plan.tracking,
        artifacts=plan.runs / "artifacts",
        study=plan.study,
        params={key: value for key, value in plan.identity().items() if value is not None},
        tags=study_tags(plan),
        data=data_of(plan),
    )
    tracker.start()
    wait_s = LONGEST_WAIT_AFTER_AN_ERROR_S
    try:
        yield tracker
        wait_s = LONGEST_WAIT_FOR_MLFLOW_S
    finally:
        tracker.close(wait_s)


def recorded_start(study: optuna.Study, plan: Plan, start_ray: Callable[[], None]) -> Callable[[], None]:
    """Return a function that records this start in the study, then starts Ray."""

    def start() -> None:
        StudyRecord(study).last_start = start_of_search(plan)
        start_ray()

    return start


def run_start(study: optuna.Study, plan: Plan, trials: Trials, tracker: Tracker, start: Callable[[], None]) -> None:
    """Start Ray with `start` and run the remaining trials.

    Raises:
        Error: a store failed or the disk is full.
    """
    number = StudyRecord(study).starts + 1
    StudyRecord(study).starts = number
    start()
    # The tracker creates MLflow's store while Ray starts; it must exist before the first trial does.
    if not tracker.ready.wait(LONGEST_WAIT_FOR_MLFLOW_S):
        say(
            f"MLflow's store {without_password(plan.tracking)} does not answer ({tracker.trouble or 'no reply'}). "
            "Training continues; events are queued on disk."
        )
    with trials.display:
        run_trials(plan, trials, number)
    if trials.failure:
        raise trials.failure


def study_tags(plan: Plan) -> dict[str, str]:
    """Return the parent run's tags: the data, the code and the command of the start that created it."""
    return {
        **search_tags(plan),
        "data": plan.manifest.fingerprint,
        "data_folder": str(plan.data),
        "code_version": code_version(),
        "mlflow.source.name": plan.command,
        "mlflow.source.type": "LOCAL",
    }
