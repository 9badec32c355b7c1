"""Handling of Ctrl-C and SIGTERM, from the first import of a search to its end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from platform.trials import Trials

_interrupted = False


def _write(line: str) -> None:
    os.write(2, f"{line}\n".encode())  # not to sys.stderr, which may be in the middle of a line


_tell: Callable[[str], object] = _write


def leave_at_ctrl_c() -> None:
    """Exit at once at Ctrl-C, for the time of the imports.

    There is nothing to clean up yet, and a KeyboardInterrupt inside an import is printed as a traceback or swallowed.
    """

    def leave(number: int, frame: Any) -> None:
        os.write(2, b"interrupted\n")
        os._exit(130)

    signal.signal(signal.SIGINT, leave)


def remember_ctrl_c() -> None:
    """Raise KeyboardInterrupt at Ctrl-C as usual, and remember it in case a library swallows it."""

    def interrupt(number: int, frame: Any) -> None:
        global _interrupted
        _interrupted = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)


@contextmanager
def stop_on_signals(trials: Trials) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM stop the run cleanly: running trials stay in the study and resume on the next start.

    Ctrl-C stops after the current epoch of each running trial. A second Ctrl-C, or SIGTERM, stops immediately.
    """

    def stop(number: int, frame: Any) -> None:
        trials.hurried = trials.interrupted or number == signal.SIGTERM
        trials.interrupted = True
        if not trials.hurried:
            _tell("Stopping after the current epochs. Press Ctrl-C again to stop now.")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        if _interrupted:
            raise KeyboardInterrupt
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def told_by(show: Callable[[str], object]) -> Iterator[None]:
    """Print the messages of signal handlers with `show` inside the context; `show` must not block."""
    global _tell
    before, _tell = _tell, show
    try:
        yield
    finally:
        _tell = before
