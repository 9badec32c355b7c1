"""A real MLflow server that dies in the middle of a search: the search does not notice, and the server gets it all."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.platform.driver import assert_whole, started_search, wait_until
from tests.platform.postgres import free_port

pytestmark = pytest.mark.slow

NUM_TRIALS = 4


class MlflowServer:
    """`mlflow server` on a file, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port)]
        words += ["--backend-store-uri", f"sqlite:///{self._folder / 'mlflow.db'}", "--workers", "1"]
        words += ["--artifacts-destination", str(self._folder / "artifacts")]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with open(self._folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(words, env={**os.environ, **quiet}, stdout=log, stderr=log)
        wait_until(self._answers, 240, "an MLflow server")

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """End it and its workers as a power cut does."""
        if self._process is not None:
            family = [*psutil.Process(self._process.pid).children(recursive=True), psutil.Process(self._process.pid)]
            for member in family:
                member.kill()
            self._process.wait(30)
            self._process = None


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
    assert "MLflow has not taken everything" not in screen
    assert_whole(runs / "optuna.db", tmp_path / "mlflow.db", json.loads(out.splitlines()[-1]), NUM_TRIALS)
