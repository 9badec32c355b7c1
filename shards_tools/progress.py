"""Show progress on standard error: a bar on a terminal, otherwise a line every few seconds."""

import io
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from typing import IO

from shards_tools.command import on_terminal

log = logging.getLogger(__name__)

LINE_S = 10.0  # seconds between two lines

Advance = Callable[[int], object]

_bar_is_shown = threading.Lock()  # a nested task shows no bar


@contextmanager
def progress(what: str, total: int, unit: str = "images") -> Iterator[Advance]:
    """Yield a function to call with the number of newly completed units.

    Nothing is shown unless this package's log is enabled for INFO, as `show_log` does.

    Args:
        unit: name of the units; "bytes" are shown as MB.
    """
    with ExitStack() as stack:
        if not log.isEnabledFor(logging.INFO):
            yield lambda number: None
        elif not on_terminal():
            yield _Lines(what, total, unit).advance
        elif _bar_is_shown.acquire(blocking=False):
            stack.callback(_bar_is_shown.release)
            stack.enter_context(lines_above_bars())
            yield stack.enter_context(_bar(what, total, unit)).update
        else:
            yield lambda number: None


@contextmanager
def lines_above_bars() -> Iterator[None]:
    """Make everything written to standard error appear above the progress bars."""
    from tqdm import tqdm

    stream = sys.stderr
    with redirect_stderr(LinesAbove(stream, lambda line: tqdm.write(line, file=stream))):
        yield


class LinesAbove(io.TextIOBase):
    """Replacement for a stream while a bar is drawn on it: passes on complete lines only."""

    def __init__(self, stream: IO[str], put: Callable[[str], object]) -> None:
        self._stream, self._put = stream, put
        self._line = ""

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._put(line)
        return len(text)

    def isatty(self) -> bool:
        """Return whether the original stream is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Return the original stream's descriptor, for code that bypasses Python."""
        return self._stream.fileno()


def _bar(what: str, total: int, unit: str):  # type: ignore[no-untyped-def]  # tqdm has no types
    from tqdm import tqdm  # importing it takes longer than a short command

    sizes = {"unit": "B", "unit_scale": True} if unit == "bytes" else {"unit": f" {unit}"}
    # the real standard error: its replacement is only for lines
    return tqdm(desc=what, total=total, file=sys.__stderr__, leave=False, dynamic_ncols=True, **sizes)


class _Lines:
    """Logs the progress every few seconds; logs nothing for a shorter task."""

    def __init__(self, what: str, total: int, unit: str) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._done = 0
        self._began = self._last = time.monotonic()

    def advance(self, number: int) -> None:
        """Add `number` completed units."""
        self._done += number
        now = time.monotonic()
        if now < self._last + LINE_S or self._done >= self._total:
            return
        self._last = now
        rate = self._done / (now - self._began)
        left_s = (self._total - self._done) / rate
        done, total, per_s = (self._written(number) for number in (self._done, self._total, rate))
        unit = "MB" if self._unit == "bytes" else self._unit
        log.info("%s: %s of %s %s, %s/s, %.0f s left", self._what, done, total, unit, per_s, left_s)

    def _written(self, number: float) -> str:
        return f"{number / 1e6:,.1f}" if self._unit == "bytes" else f"{number:,.0f}"
