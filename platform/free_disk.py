"""The error for a full disk: one line that says how to resume."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shards_tools.errors import Error
from shards_tools.folders import DISK_ERRORS


def disk_is_full(place: object, cause: str) -> Error:
    """Return the error for a `place` that cannot be written."""
    return Error(
        f"{place} cannot be written: {cause.rstrip('.')}. Free space on that disk and run the same command again;"
        " running trials resume from their last checkpoint."
    )


@contextmanager
def refuse_full_disk(folder: Path) -> Iterator[None]:
    """Turn a full disk inside the context into an Error that names `folder`."""
    try:
        yield
    except OSError as failure:
        if failure.errno not in DISK_ERRORS:
            raise
        raise disk_is_full(folder, failure.strerror or str(failure)) from None
