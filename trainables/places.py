"""Where a checkpoint lies: a folder of a disk, or of a bucket, whose files are fetched and sent whole."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from shards_tools.errors import Error
from shards_tools.stores.address import BUCKET_SCHEMES, Address, parse_address
from shards_tools.stores.buckets import BucketStore
from shards_tools.stores.retry import Unreachable

MAY_BE_AWAY_S = 300.0  # a bucket that a training needs
IN_BUCKET = re.compile(rf"({'|'.join(BUCKET_SCHEMES)}):/", re.IGNORECASE)

Answer = TypeVar("Answer")


def bucket_of(place: str) -> BucketStore | None:
    """The folder of a bucket that `place` is the address of; None for a folder of a disk."""
    if not IN_BUCKET.match(place):
        return None
    address = parse_address(place)
    assert isinstance(address, Address)
    return BucketStore(address)


@contextmanager
def fetched(place: str, names: Collection[str] = ()) -> Iterator[Path]:
    """The folder at `place`, of a bucket a copy that lasts as long as the context.

    Args:
        names: of the files that are needed, as far as there are any; all for none.
    """
    bucket = bucket_of(place)
    if bucket is None:
        yield Path(place)
        return
    found = [name for name in bucket.names() if "/" not in name]
    if not found:
        raise Error(f"{place} holds no files. Name the folder of a checkpoint.")
    with tempfile.TemporaryDirectory(prefix="fetched-") as folder:
        for name in found:
            if not names or name in names:
                bucket.fetch(name, Path(folder) / name)
        yield Path(folder)


def send(folder: Path, place: str, names: Collection[str] = ()) -> None:
    """Send files of a folder to `place`, over those of the same names; a folder of a disk is where they lie already.

    Args:
        names: of the files; all for none.
    """
    bucket = bucket_of(place)
    if bucket is not None:
        for file in sorted(folder.iterdir()):
            if not names or file.name in names:
                bucket.send(file, file.name)


def is_there(place: str) -> bool:
    """Whether anything lies at `place`."""
    bucket = bucket_of(place)
    return Path(place).is_dir() if bucket is None else bucket.exists()


def remove(place: str, *, keep: str = "") -> None:
    """Remove what lies below `place`, but for what lies below `keep`; nobody needs it, so what fails is let be."""
    bucket = bucket_of(place)
    if bucket is None:
        shutil.rmtree(place, ignore_errors=True)
        return
    kept = f"{keep.removeprefix(f'{place}/')}/"
    with suppress(Error):
        bucket.remove([name for name in bucket.names() if not name.startswith(kept)])


class BucketAway(Error):
    """Checkpoints cannot be read from their bucket, or not be written to it."""


@contextmanager
def resumed(place: str | None) -> Iterator[Path | None]:
    """The folder of the checkpoint to go on from, if there is one, for as long as the context lasts."""
    with ExitStack() as stack:
        yield None if place is None else patiently(lambda: stack.enter_context(fetched(place)))


def patiently(call: Callable[[], Answer]) -> Answer:
    """What `call` gives, made again while a bucket does not answer; BucketAway where it never does, or refuses."""
    deadline = time.monotonic() + MAY_BE_AWAY_S
    while True:
        try:
            return call()
        except Error as failure:
            if not isinstance(failure, Unreachable) or time.monotonic() > deadline:
                raise BucketAway(str(failure)) from failure
