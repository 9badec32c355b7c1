"""A real search in a terminal of its own, ended by Ctrl-C as people press it."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.platform.driver import ROOT, command, family_of, wait_until
from tests.platform.small_terminal import SmallTerminal

# Makes standard input the terminal whose keys send signals, and becomes the command.
WITH_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


class Session:
    """A command in a terminal of 100 columns and 30 lines."""

    def __init__(self, words: list[str]) -> None:
        self.keyboard, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name != "CI"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", WITH_TERMINAL, *words],
            cwd=ROOT,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env={**environment, "TERM": "xterm-256color"},
            start_new_session=True,
        )
        os.close(terminal)
        self.written = b""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                self.written += os.read(self.keyboard, 65536)
            except OSError:  # the last process that had the terminal has ended
                return

    def wait(self) -> int:
        """The exit code, once all has been read."""
        code = self.process.wait(timeout=120)
        self._reader.join(60)
        return code

    def shown(self) -> SmallTerminal:
        """The terminal as it stands after what was written so far."""
        terminal = SmallTerminal()
        terminal.feed(self.written.decode(errors="ignore"))
        return terminal


@contextmanager
def session(words: list[str]) -> Iterator[Session]:
    """The command while it runs; what is left of it is killed, by process id."""
    started = Session(words)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            family = family_of(started.process)
            started.process.kill()
            for member in family:
                if member.is_running():
                    member.kill()
        started.wait()
        os.close(started.keyboard)


@pytest.mark.slow
def test_ctrl_c_leaves_the_terminal_in_order(small_space: Path, shards: Path, tmp_path: Path) -> None:
    words = command("--space", small_space, "--data", shards, "--runs", tmp_path / "runs", "--trials", 6)
    with session(words) as search:
        wait_until(lambda: b"time left unknown" in search.written, 240, "the display")
        wait_until(lambda: b"about" in search.written, 240, "an epoch")
        os.write(search.keyboard, b"\x03")
        assert search.wait() == 130
    assert b"Epochs that run are finished first" in search.written
    terminal = search.shown()
    assert terminal.cursor_is_shown
    assert not terminal.cursor_was_hidden
    assert search.written.rfind(b"\x1b[?25h") > search.written.rfind(b"silent")
    lines = terminal.text.splitlines()
    assert lines[-1] == "interrupted"
    assert any(line.startswith("trial ") and "left running after epoch" in line for line in lines)
    assert [line for line in lines if "silent" in line or line.startswith("━")] == []
