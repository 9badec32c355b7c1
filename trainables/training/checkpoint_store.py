"""Read and write checkpoint folders on a disk or in a bucket, whose files are downloaded and uploaded whole."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from shards_tools.errors import Error
from shards_tools.folders import is_full, means_full_disk
from shards_tools.stores.address import BUCKET_SCHEMES, Address, parse_address
from shards_tools.stores.buckets import BucketStore
from shards_tools.stores.retry import Unreachable
from trainables.training.trial_report import Save

# Names the folder of checkpoints on their way; the process that starts Ray deletes it at the end.
PASSING_VARIABLE = "SAKUGA_PASSING"
MAY_BE_AWAY_S = 300.0  # how long a training retries its bucket
IN_BUCKET = re.compile(rf"({'|'.join(BUCKET_SCHEMES)}):/", re.IGNORECASE)

Answer = TypeVar("Answer")


def bucket_of(place: str) -> BucketStore | None:
    """Return the bucket folder that `place` is the address of, or None for a folder on a disk."""
    if not IN_BUCKET.match(place):
        return None
    address = parse_address(place)
    assert isinstance(address, Address)
    return BucketStore(address)


@contextmanager
def fetched(place: str, names: Collection[str] = (), *, beside: Path | None = None) -> Iterator[Path]:
    """Yield the folder at `place`; for a bucket, a temporary copy.

    Args:
        names: files to download, if they exist; empty: all.
        beside: the folder for the copy; None: one that is removed with the driver's Ray, or that for temporary files.

    Raises:
        Error: the bucket folder is empty.
    """
    bucket = bucket_of(place)
    if bucket is None:
        yield Path(place)
        return
    found = [name for name in bucket.names() if "/" not in name]
    if not found:
        raise Error(f"{place} holds no files. Pass the folder of a checkpoint.")
    passing = os.environ.get(PASSING_VARIABLE, "")
    parent = beside or (passing if os.path.isdir(passing) else None)
    with tempfile.TemporaryDirectory(prefix="fetched-", dir=parent) as folder:
        for name in found:
            if not names or name in names:
                bucket.fetch(name, Path(folder) / name)
        yield Path(folder)


@contextmanager
def saved_aside(save: Save) -> Iterator[Path]:
    """Yield a temporary folder with a checkpoint, on its way to where it is kept.

    Raises:
        OSError: the checkpoint cannot be written because the disk is full; the error names the folder for temporary
            files.
    """
    parent = os.environ.get(PASSING_VARIABLE, tempfile.gettempdir())
    os.makedirs(parent, exist_ok=True)  # it does not exist on other nodes than the driver's
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        try:
            save(Path(folder))
        except Exception as failure:
            if is_full(Path(folder)) or means_full_disk(failure):  # torch and safetensors raise errors of their own
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), tempfile.gettempdir()) from failure
            raise
        yield Path(folder)


def send(folder: Path, place: str, names: Collection[str] = ()) -> None:
    """Upload files of a folder to `place`, replacing files of the same names; does nothing for a folder on a disk.

    Args:
        names: files to upload; empty: all.
    """
    bucket = bucket_of(place)
    if bucket is not None:
        for file in sorted(folder.iterdir()):
            if not names or file.name in names:
                bucket.send(file, file.name)


def is_there(place: str) -> bool:
    """Return whether `place` exists."""
    bucket = bucket_of(place)
    return Path(place).is_dir() if bucket is None else bucket.exists()


def remove(place: str, *, keep: str = "") -> None:
    """Delete everything below `place` except below `keep`; failures are ignored, because nothing needs the files.

    Args:
        keep: a folder or bucket folder below `place`; only in a bucket.
    """
    bucket = bucket_of(place)
    if bucket is None:
        shutil.rmtree(place, ignore_errors=True)
        return
    kept = f"{keep.removeprefix(f'{place}/')}/"
    with suppress(Error):
        bucket.remove([name for name in bucket.names() if not name.startswith(kept)])


class BucketAway(Error):
    """Checkpoints cannot be read from their bucket, or cannot be written to it."""


@contextmanager
def resumed(place: str) -> Iterator[Path]:
    """Yield the folder of a checkpoint to resume from, as `fetched`; wait for its bucket.

    Raises:
        BucketAway: as in `patiently`.
    """
    with ExitStack() as stack:
        yield patiently(lambda: stack.enter_context(fetched(place)))


def patiently(call: Callable[[], Answer]) -> Answer:
    """Call and return the result, retrying while a bucket is unreachable.

    Raises:
        BucketAway: the bucket stayed unreachable for MAY_BE_AWAY_S, or refused.
    """
    deadline = time.monotonic() + MAY_BE_AWAY_S
    while True:
        try:
            return call()
        except Error as failure:
            if not isinstance(failure, Unreachable) or time.monotonic() > deadline:
                raise BucketAway(str(failure)) from failure
