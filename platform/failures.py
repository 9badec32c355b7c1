"""The failures that end a search: a full disk, and too many failed trials in a row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optuna.trial import TrialState

from shards_tools.errors import Error
from shards_tools.folders import DISK_ERRORS, full_folder

MAX_FAILURES_IN_A_ROW = 5


class Failures:
    """The failures of one start."""

    def __init__(self) -> None:
        self._in_a_row, self._last, self._traceback = 0, "", ""

    @property
    def are_too_many(self) -> bool:
        """Whether MAX_FAILURES_IN_A_ROW trials or more have failed in a row, so that no further trial starts."""
        return self._in_a_row >= MAX_FAILURES_IN_A_ROW

    def note(self, reason: str, traceback: str = "") -> None:
        """Store why an attempt ended, and the traceback if it was a bug, for the error message."""
        self._last, self._traceback = reason, traceback

    def count(self, state: TrialState) -> None:
        """Count a trial that ended in `state`."""
        self._in_a_row = self._in_a_row + 1 if state == TrialState.FAIL else 0

    def raise_if_too_many(self) -> None:
        """Raise if too many trials failed in a row.

        Raises:
            Error: the last trial failed for a reason that the user can fix.
            RuntimeError: the last trial failed because of a bug.
        """
        if not self.are_too_many:
            return
        what = f"{MAX_FAILURES_IN_A_ROW} trials in a row failed."
        if self._traceback:
            raise RuntimeError(f"{what} The last one:\n{self._traceback}")
        raise Error(f"{what} The last one: {self._last}")


def disk_is_full(place: object, cause: str) -> Error:
    """Return the error for a `place` that cannot be written."""
    return Error(
        f"{place} cannot be written: {cause.rstrip('.')}. Free space on that disk and run the same command again;"
        " running trials resume from their last checkpoint."
    )


@contextmanager
def refuse_full_disk(folder: Path) -> Iterator[None]:
    """Turn a full disk inside the context into an Error that names the full folder: `folder`, or a temporary one."""
    try:
        yield
    except OSError as failure:
        if failure.errno not in DISK_ERRORS:
            raise
        raise disk_is_full(full_folder(folder, failure), failure.strerror or str(failure)) from None
