"""Ctrl-C and SIGTERM, from the first import of a search to its end."""

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
    os.write(2, f"{line}\n".encode())  # past sys.stderr, which may be in the middle of a line


_tell: Callable[[str], object] = _write


def leave_at_ctrl_c() -> None:
    """While modules are imported: there is nothing to tidy up yet, and an exception would become many lines or none."""

    def leave(number: int, frame: Any) -> None:
        os.write(2, b"interrupted\n")
        os._exit(130)

    signal.signal(signal.SIGINT, leave)


def remember_ctrl_c() -> None:
    """From there on: a KeyboardInterrupt as ever, remembered in case that a library keeps it to itself."""

    def interrupt(number: int, frame: Any) -> None:
        global _interrupted
        _interrupted = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)


@contextmanager
def stop_on_signals(trials: Trials) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the run in good order: running trials stay in the study, to be gone on with.

    After Ctrl-C they finish their epoch. Who sends SIGTERM, or Ctrl-C again, does not wait so long.
    """

    def stop(number: int, frame: Any) -> None:
        trials.hurried = trials.interrupted or number == signal.SIGTERM
        trials.interrupted = True
        if not trials.hurried:
            _tell("Epochs that run are finished first; Ctrl-C again ends at once.")

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
    """Let `show`, which must not wait for anything, tell people what a handler has to say."""
    global _tell
    before, _tell = _tell, show
    try:
        yield
    finally:
        _tell = before
