"""A real MLflow server of the tests' own, which can be killed, frozen, and started again."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.platform.driver import wait_until
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
