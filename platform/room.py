"""A disk without room: one line, whoever meets it, and the same command goes on once there is room."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shards_tools.errors import Error
from shards_tools.folders import DISK_ERRORS


def no_room(place: object, cause: str) -> Error:
    """The error for a `place` that cannot be written."""
    return Error(
        f"{place} cannot be written: {cause.rstrip('.')}. Make room on that disk; the same command then goes on, "
        "and running trials at their last checkpoint."
    )


@contextmanager
def needs_room(folder: Path) -> Iterator[None]:
    """While the context lasts, a full disk is an Error that names `folder`."""
    try:
        yield
    except OSError as failure:
        if failure.errno not in DISK_ERRORS:
            raise
        raise no_room(folder, failure.strerror or str(failure)) from None
