"""Searches whose stores are PostgreSQL databases: whatever becomes of the server, nothing is lost."""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.platform.driver import (
    ROOT,
    assert_whole,
    command,
    mlflow_runs,
    run_search,
    started_search,
    stored_trials,
    wait_until,
)
from tests.platform.postgres import Server, running_server

pytestmark = [
    pytest.mark.slow,
    # MLflow's client, with which the tests look at its database, cannot be told to close its connections.
    pytest.mark.filterwarnings("ignore:Exception ignored in.*Connection:pytest.PytestUnraisableExceptionWarning"),
]

NUM_TRIALS = 4
START_TIMEOUT_S = 600
RESTART_EVERY_S = 20


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def stores(server: Server, request: pytest.FixtureRequest) -> tuple[str, str]:
    """Addresses of empty databases for Optuna and MLflow."""
    server.start()
    return server.new_database(f"optuna {request.node.name}"), server.new_database(f"mlflow {request.node.name}")


@pytest.fixture
def options(small_space: Path, shards: Path, stores: tuple[str, str]) -> list[object]:
    storage, tracking = stores
    words = ["--space", small_space, "--data", shards, "--storage", storage, "--tracking", tracking]
    return [*words, "--trials", NUM_TRIALS, "--concurrency", 2]


def assert_every_epoch_is_in_both(storage: str, tracking: str) -> None:
    """What Optuna knows of each epoch of each trial MLflow knows too, once."""
    from mlflow import MlflowClient

    runs = {int(run.data.tags["trial"]): run.info.run_id for run in mlflow_runs(tracking) if "trial" in run.data.tags}
    for trial in stored_trials(storage):
        history = MlflowClient(tracking).get_metric_history(runs[trial.number], "mAP")
        assert {point.step: point.value for point in history} == pytest.approx(trial.intermediate_values)
        assert sorted(trial.intermediate_values) == list(range(1, len(history) + 1))


def test_a_server_that_is_restarted_twice_in_the_middle_costs_nothing(
    server: Server, options: list[object], stores: tuple[str, str], tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    with started_search(*options, "--runs", runs) as search:
        wait_until(lambda: any(runs.glob("*/start-001/*/checkpoint_000000")), START_TIMEOUT_S, "a first checkpoint")
        server.stop(signal.SIGINT)
        server.start()
        wait_until(lambda: any(runs.glob("*/start-001/*/checkpoint_000002")), START_TIMEOUT_S, "a third checkpoint")
        server.stop(signal.SIGQUIT)
        server.start()
        out, screen = search.communicate(timeout=600)
    assert search.returncode == 0, screen
    assert "resumes from the last checkpoint" not in screen
    assert "Traceback" not in screen, screen
    assert_whole(*stores, json.loads(out.splitlines()[-1]), NUM_TRIALS)
    assert_every_epoch_is_in_both(*stores)
    assert [trial.user_attrs["attempts"] for trial in stored_trials(stores[0])] == [1] * NUM_TRIALS


def test_a_server_that_is_restarted_every_twenty_seconds_costs_nothing(
    server: Server, options: list[object], stores: tuple[str, str], tmp_path: Path
) -> None:
    with started_search(*options, "--runs", tmp_path / "runs") as search:
        restarts = 0
        while search.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                search.wait(RESTART_EVERY_S)
            if search.poll() is None:
                server.stop(signal.SIGINT)
                server.start()
                restarts += 1
                assert restarts < 60, "the search does not end"
        out, screen = search.communicate(timeout=60)
    assert search.returncode == 0, screen
    assert restarts >= 1
    assert "Traceback" not in screen, screen
    summary = json.loads(out.splitlines()[-1])
    if summary["tracking"] != "ok":  # it was restarted while the last events were sent
        summary, _ = run_search(*options, "--runs", tmp_path / "runs")
    assert_whole(*stores, summary, NUM_TRIALS)
    assert_every_epoch_is_in_both(*stores)
    assert [trial.user_attrs["attempts"] for trial in stored_trials(stores[0])] == [1] * NUM_TRIALS


def test_a_server_that_stays_away_ends_the_search_and_the_same_command_goes_on(
    server: Server, options: list[object], stores: tuple[str, str], tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    impatient = (
        "import runpy; from platform import resilient_storage; resilient_storage.PATIENCE_S = 3.0;"
        " from platform.search import main; from shards_tools.command import run; run(main)"
    )
    words = command(*options, "--runs", runs)
    search = subprocess.Popen(
        [sys.executable, "-c", impatient, *words[3:]],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_until(lambda: any(runs.glob("*/start-001/*/checkpoint_000001")), START_TIMEOUT_S, "a second checkpoint")
        server.stop()
        _, screen = search.communicate(timeout=600)
    finally:
        search.kill()
    assert search.returncode == 2, screen
    assert "Traceback" not in screen
    assert "has not answered for" in screen.splitlines()[-1]
    server.start()
    assert any(trial.state.name == "RUNNING" for trial in stored_trials(stores[0]))
    summary, _ = run_search(*options, "--runs", runs)
    assert_whole(*stores, summary, NUM_TRIALS)
    assert_every_epoch_is_in_both(*stores)


def test_a_driver_on_another_machine_is_refused(options: list[object], tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with started_search(*options, "--runs", runs) as search:
        wait_until(lambda: any(runs.glob("*/journal.jsonl")), START_TIMEOUT_S, "a start")
        _, screen = run_search(*options, "--runs", tmp_path / "other", expect=2)
        assert len(screen.splitlines()) == 1
        assert f"is being run by process {search.pid} on " in screen
