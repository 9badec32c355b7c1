"""Ctrl-C before any trial runs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from platform import signals
from tests.platform.driver import ROOT, command, wait_until

IMPORTING_BYTES = 60e6  # more than Python takes by itself, less than with torch


@pytest.fixture
def _own_handler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(signals, "_interrupted", False)
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_while_modules_are_imported_is_one_line() -> None:
    words = command("--space", "transreid")
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as search:
        wait_until(lambda: psutil.Process(search.pid).memory_info().rss > IMPORTING_BYTES, 60, "imports")
        search.send_signal(signal.SIGINT)
        out, _ = search.communicate(timeout=60)
    assert (search.returncode, out) == (130, "interrupted\n")


def test_a_ctrl_c_within_code_that_is_executed_ends_with_130_and_not_by_a_signal(tmp_path: Path) -> None:
    """As within a dataclass that a module makes while it is imported: Python notes it, and would end by SIGINT."""
    (tmp_path / "stopped.py").write_text(
        "from shards_tools.command import run\n\n\ndef main(_):\n    exec('raise KeyboardInterrupt')\n\n\nrun(main)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "stopped"]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


@pytest.mark.usefixtures("_own_handler")
def test_a_ctrl_c_that_a_library_kept_to_itself_ends_the_search_before_a_trial_runs() -> None:
    signals.remember_ctrl_c()
    with pytest.raises(KeyboardInterrupt):
        interrupted_here()
    with pytest.raises(KeyboardInterrupt), signals.stop_on_signals(SimpleNamespace(interrupted=False, hurried=False)):
        pytest.fail("a trial runs")


@pytest.mark.usefixtures("_own_handler")
def test_ctrl_c_once_and_twice_is_noted_for_the_trials(capfd: pytest.CaptureFixture[str]) -> None:
    signals.remember_ctrl_c()
    trials = SimpleNamespace(interrupted=False, hurried=False)
    with signals.stop_on_signals(trials):
        interrupted_here()
        assert (trials.interrupted, trials.hurried) == (True, False)
        interrupted_here()
        assert (trials.interrupted, trials.hurried) == (True, True)
    assert capfd.readouterr().err == "Stopping after the current epochs. Press Ctrl-C again to stop now.\n"


def interrupted_here() -> None:
    """Ctrl-C, in this process."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.1)
