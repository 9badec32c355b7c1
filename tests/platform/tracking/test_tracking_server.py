"""A real MLflow server that dies in the middle of a search: the search does not notice, and the server gets it all."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.platform.driver import assert_whole, started_search, wait_until
from tests.platform.mlflow_server import MlflowServer

pytestmark = pytest.mark.slow

NUM_TRIALS = 4


@pytest.fixture
def mlflow_server(tmp_path: Path) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path)
    server.start()
    yield server
    server.kill()


def test_a_server_that_is_killed_and_started_again_gets_everything_once(
    mlflow_server: MlflowServer, small_space: Path, shards: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    words = ["--space", small_space, "--data", shards, "--runs", runs, "--trials", NUM_TRIALS, "--concurrency", 2]
    with started_search(*words, "--tracking", mlflow_server.uri) as search:
        wait_until(lambda: any(runs.glob("*/start-001/*/checkpoint_000001")), 600, "a second checkpoint")
        mlflow_server.kill()
        known = len(list(runs.glob("*/start-001/*/checkpoint_*")))
        wait_until(lambda: len(list(runs.glob("*/start-001/*/checkpoint_*"))) != known, 600, "a training that goes on")
        mlflow_server.start()
        out, screen = search.communicate(timeout=600)
    assert search.returncode == 0, screen
    told = [line for line in screen.splitlines() if f"MLflow's store {mlflow_server.uri}" in line]
    told = [line for line in told if "gets the last events" not in line]  # said only if that takes long
    assert ["does not answer" in line for line in told] == [True, False]
    assert "answers again" in told[1]
    assert "MLflow lacks some events" not in screen
    summary = json.loads(out.splitlines()[-1])
    assert summary["tracking"] == "ok"
    assert_whole(runs / "optuna.db", tmp_path / "mlflow.db", summary, NUM_TRIALS)
