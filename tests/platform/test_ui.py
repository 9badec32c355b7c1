"""The UI is MLflow's own, on the store of the searches."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from platform import ui
from platform.tracking.journal import Journal
from platform.tracking.tracker import Tracker
from shards_tools.errors import Error
from tests.platform.driver import ROOT, wait_until

PORT = 5391


def test_a_folder_without_a_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(Error, match=r"mlflow\.db does not exist\. Run a search first"):
        ui.main(["--runs", str(tmp_path)])


def answers() -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


@pytest.mark.slow
def test_the_server_shows_the_study_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    with Journal(tmp_path / "s" / "journal.jsonl") as journal:
        uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
        tracker = Tracker(journal, uri=uri, artifacts=tmp_path / "artifacts", study="s", params={}, tags={})
        tracker.start()
        assert tracker.ready.wait(60)
        tracker.close(60)
    words = [sys.executable, "-m", "platform.ui", "--runs", str(tmp_path), "--port", str(PORT)]
    server = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(answers, 120, "the server")
        family = psutil.Process(server.pid).children(recursive=True)
        request = urllib.request.Request(
            f"http://127.0.0.1:{PORT}/api/2.0/mlflow/experiments/search",
            data=b'{"max_results": 9}',
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            names = {experiment["name"] for experiment in json.load(reply)["experiments"]}
        assert "s" in names
        os.kill(server.pid, signal.SIGINT)
        server.wait(60)
        assert psutil.wait_procs(family, timeout=30)[1] == []
    finally:
        server.kill()
        server.wait()
