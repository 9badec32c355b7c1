"""Runs a command in a terminal of its own, whose keys can be pressed."""

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

from tests.platform.driver import ROOT, family_of
from tests.small_terminal import SmallTerminal

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
        code = self.process.wait(timeout=300)
        self._reader.join(60)
        return code

    def shown(self) -> SmallTerminal:
        """The terminal as it stands after what was written so far."""
        terminal = SmallTerminal()
        terminal.feed(self.written.decode(errors="ignore"))
        return terminal


@contextmanager
def session(words: list[str]) -> Iterator[Session]:
    """Yield the running command, and kill the processes that remain, by process id."""
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
