"""The failures that end a search: a disk that cannot be written, and too many failed trials in a row."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optuna.trial import TrialState

from shards_tools.errors import Error
from shards_tools.folders import DISK_ERRORS, full_folder, has_no_inodes, try_to_write

MAX_FAILURES_IN_A_ROW = 5
DEFECTS = (os.strerror(errno.EROFS), os.strerror(errno.EIO))  # of a disk, which free space does not fix


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
    cause, remedy = cause.rstrip("."), "Free space on that disk"
    if isinstance(place, Path) and place.exists() and has_no_inodes(place):
        cause, remedy = "its disk has no inodes left", "Delete files on that disk"
    elif cause in DEFECTS:
        remedy = "Make that disk writable again"
    return Error(
        f"{place} cannot be written: {cause}. {remedy} and run the same command again; running trials resume from their"
        " last checkpoint."
    )


def refusal_of_disk(folder: Path) -> Error | None:
    """Return the error for a folder whose disk takes no new file, or None."""
    try:
        try_to_write(folder)
    except OSError as failure:
        return disk_is_full(folder, failure.strerror or "") if failure.errno in DISK_ERRORS else None
    return None


@contextmanager
def refuse_full_disk(folder: Path) -> Iterator[None]:
    """Turn a full disk inside the context into an Error that names the full folder: `folder`, or a temporary one."""
    try:
        yield
    except Error:
        raise
    except Exception as failure:
        refused = _error_of_disk(failure)
        if refused is None:
            raise
        raise disk_is_full(full_folder(folder, refused), refused.strerror or str(refused)) from None


def _error_of_disk(failure: BaseException | None) -> OSError | None:
    """Return the error of a disk that caused a failure, or None; Tune raises an error of its own while handling it."""
    while failure is not None:
        if isinstance(failure, OSError) and failure.errno in DISK_ERRORS:
            return failure
        failure = failure.__cause__ or failure.__context__
    return None
