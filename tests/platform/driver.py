"""Runs the search command as people do, in a process of its own, and looks at what it left in its stores."""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.trial import TrialState

ROOT = Path(__file__).resolve().parents[2]


def command(*words: object) -> list[str]:
    """The command line of a search."""
    return [sys.executable, "-m", "platform.search", *map(str, words), "--json"]


def run_search(*words: object, expect: int = 0) -> tuple[dict[str, Any], str]:
    """Run a search to its end: its JSON (empty where it failed), and what people read."""
    result = subprocess.run(command(*words), cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert result.returncode == expect, result.stdout + result.stderr
    return (json.loads(result.stdout.splitlines()[-1]) if result.stdout else {}), result.stderr


@contextmanager
def started_search(*words: object) -> Iterator[subprocess.Popen[str]]:
    """A search that runs in the background; whatever of it is left at the end is killed, by process id."""
    process = subprocess.Popen(
        command(*words), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    family: list[psutil.Process] = []
    try:
        yield process
    finally:
        if process.poll() is None:
            family = psutil.Process(process.pid).children(recursive=True)
            process.kill()
        for member in family:
            if member.is_running():
                member.kill()
        process.communicate()


def end_family(process: subprocess.Popen[Any]) -> None:
    """Kill a process and all that it has started, by process id."""
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.kill()
    for member in family:
        if member.is_running():
            member.kill()
    process.wait(30)


def family_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Every process that the search has started so far."""
    return psutil.Process(process.pid).children(recursive=True)


def kill_driver(search: subprocess.Popen[str]) -> None:
    """Kill the driver of a search alone, and wait for the end of every process that it has started."""
    family = family_of(search)
    search.kill()
    search.wait()
    wait_until(lambda: not any(member.is_running() for member in family), 60, "the end of every process")


def trainings_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that train, the newest last; one before it may be on its way out."""
    trainings = []
    for member in family_of(process):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "train" in member.name():
                trainings.append((member.create_time(), member.pid, member))
    return [member for _, _, member in sorted(trainings)]


def wait_until(true: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Poll until something holds; fails naming it."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.05)


def address_of(database: Path | str) -> str:
    """The address of a database: a file of SQLite's, or an address already."""
    return f"sqlite:///{database}" if isinstance(database, Path) else database


def stored_trials(database: Path | str) -> list[optuna.trial.FrozenTrial]:
    """The trials of the only study in an Optuna database."""
    storage = optuna.storages.RDBStorage(address_of(database))
    try:
        (name,) = optuna.get_all_study_names(storage)
        return optuna.load_study(study_name=name, storage=storage).trials
    finally:
        storage.engine.dispose()


def has_epochs(database: Path, number: int) -> bool:
    """Whether the study in an SQLite database has an epoch of a trial."""
    with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(sqlite3.connect(database)) as connection:
        count = "SELECT count(*) FROM trial_intermediate_values JOIN trials USING (trial_id) WHERE number = ?"
        return bool(connection.execute(count, (number,)).fetchone()[0])
    return False  # its tables are not made yet


def mlflow_runs(database: Path | str, experiment: str | None = None, *, deleted: bool = False) -> list[Any]:
    """Every run of an MLflow database, or of one experiment in it; those that were deleted, if `deleted`."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    from mlflow import MlflowClient
    from mlflow.entities import ViewType

    client = MlflowClient(address_of(database))
    found = [found.experiment_id for found in client.search_experiments() if experiment in (None, found.name)]
    return list(client.search_runs(found, run_view_type=ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY))


def assert_whole(
    storage: Path | str,
    tracking: Path | str,
    summary: dict[str, Any],
    num_trials: int,
    experiment: str | None = None,
    failed: Collection[int] = (),
    deleted: Collection[int] = (),
) -> None:
    """Every trial once in Optuna, in MLflow and in the summary; none runs; one parent.

    Args:
        num_trials: those that have not failed.
        failed: the trials that have failed, as intended; no other has.
        deleted: the trials whose runs are deleted in MLflow; no other run is.
    """
    states = {trial.number: trial.state for trial in stored_trials(storage)}
    numbers = list(range(num_trials + len(failed)))
    assert list(states) == numbers
    assert {number for number, state in states.items() if state == TrialState.FAIL} == set(failed)
    counts = Counter(state.name.lower() for state in states.values())
    assert counts.keys() <= {"complete", "pruned", "fail"}
    assert summary["trials"] == {"complete": counts["complete"], "pruned": counts["pruned"], "failed": len(failed)}
    runs = mlflow_runs(tracking, experiment)
    told = [int(run.data.tags["trial"]) for run in runs if "trial" in run.data.tags]
    lost = [int(run.data.tags["trial"]) for run in mlflow_runs(tracking, experiment, deleted=True)]
    assert sorted(told + lost) == numbers, f"MLflow has the runs of trials {sorted(told + lost)}"
    assert set(lost) == set(deleted)
    assert len(runs) == len(told) + 1
    for run in runs:
        assert run.info.status != "RUNNING"
        if "trial" in run.data.tags:
            assert run.data.tags["state"] == states[int(run.data.tags["trial"])].name
