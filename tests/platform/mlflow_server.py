"""A real MLflow server of the tests' own, which can be killed, frozen, and started again; and a served model."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.platform.driver import end_family, wait_until
from tests.platform.postgres import free_port


class MlflowServer:
    """`mlflow server` on a database: a file in its folder, or the address of one."""

    def __init__(
        self,
        folder: Path,
        store: str = "",
        host: str = "127.0.0.1",
        enter: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> None:
        """`enter` is what a command line begins with where `host` is an address, `options` are the server's."""
        self._options = options
        self._folder, self._port, self._host, self._enter = folder, free_port(), host, enter
        self._store = store or f"sqlite:///{folder / 'mlflow.db'}"
        self.uri = f"http://{host}:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> None:
        words = [*self._enter, sys.executable, "-m", "mlflow", "server"]
        words += ["--host", self._host, "--port", str(self._port), "--allowed-hosts", f"{self._host}:*"]
        words += ["--backend-store-uri", self._store, "--workers", "1"]
        words += ["--artifacts-destination", str(self._folder / "artifacts"), *self._options]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with open(self._folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(words, env={**os.environ, **quiet}, stdout=log, stderr=log)
        if wait:
            self.wait()

    def wait(self) -> None:
        """Wait until it answers."""
        wait_until(self._answers, 600, "an MLflow server")

    def _answers(self) -> bool:
        assert self._process is None or self._process.poll() is None, (self._folder / "server.log").read_text()[-2000:]
        ask = f"import urllib.request; urllib.request.urlopen('{self.uri}/health', timeout=5)"
        return (
            subprocess.run([*self._enter, sys.executable, "-c", ask], check=False, capture_output=True).returncode == 0
        )

    def signal(self, number: signal.Signals) -> None:
        """Send it and its workers a signal."""
        assert self._process is not None
        for member in (*psutil.Process(self._process.pid).children(recursive=True), psutil.Process(self._process.pid)):
            member.send_signal(number)

    def kill(self) -> None:
        """End it and its workers as a power cut does."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self._process.wait(30)
            self._process = None


@contextmanager
def served(uri: str, model: str, log: Path) -> Iterator[str]:
    """`mlflow models serve` of a registered model; gives the address to ask."""
    address = f"127.0.0.1:{(port := free_port())}"
    words = ["-m", "mlflow", "models", "serve", "--model-uri", model, "--env-manager", "local"]
    words += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = {**own_environment(), "MLFLOW_TRACKING_URI": uri}
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, *words], env=environment, stdout=file, stderr=file)
    try:
        wait_until(lambda: answers(f"http://{address}/ping") or process.poll() is not None, 300, "a served model")
        assert process.poll() is None, log.read_text()[-2000:]
        yield f"http://{address}/invocations"
    finally:
        end_family(process)


def own_environment() -> dict[str, str]:
    """Of a command that tells nobody of itself, and finds uvicorn beside this Python."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"}


def answers(address: str) -> bool:
    """Whether somebody does."""
    try:
        return bool(urllib.request.urlopen(address, timeout=5).status == 200)
    except OSError:
        return False


def ask(address: str, rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    """What a served model says."""
    body = json.dumps({"dataframe_records": rows, "params": {"false_accept_rate": 0.1}}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    found: dict[str, Any] = json.loads(urllib.request.urlopen(request, timeout=120).read())
    predictions: list[dict[str, Any]] = found["predictions"]
    return predictions
