"""Checksums of a large file in a cache, by blocks, so that a start can check a part of it."""

import hashlib
import json
import os
import random
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from shards_tools.errors import Error
from shards_tools.folders import refuse_link, write_durably
from shards_tools.parallel import in_order, num_cpus
from shards_tools.progress import progress
from shards_tools.records import parse_object, record

CHECKSUMS_NAME = "checksums.json"
BLOCK_BYTES = 4 * 2**20
WHOLE_BYTES = 10**9  # a file of at most this size is checked completely at every start
SAMPLED_BLOCKS = 64  # of a larger file at every start
COMPLETE_S = 24 * 3600  # from one complete check of a larger file to the next, on each node
MAX_CHECKSUMS_BYTES = 64 * 2**20  # of a file of 3 TB


@dataclass(frozen=True)
class _Checksums:
    owner: str  # what the file holds; other content of the same size has another owner
    num_bytes: int
    sha256: tuple[str, ...]  # of each block


def write_checksums(file: Path, owner: str) -> None:
    """Write the checksums of `file` next to it.

    Args:
        file: complete, and not changed from now on.
        owner: identifies the content, such as the name of the folder in the cache.
    """
    descriptor = open_file(file)
    try:
        num_bytes = os.fstat(descriptor).st_size
        sha256 = tuple(_digests(descriptor, range(-(-num_bytes // BLOCK_BYTES)), num_bytes))
    finally:
        os.close(descriptor)
    content = json.dumps(asdict(_Checksums(owner, num_bytes, sha256)))
    write_durably(file.with_name(CHECKSUMS_NAME), content.encode())
    _note_complete_check(file.parent)


def damage_of(file: Path, owner: str, *, complete: bool = False) -> str | None:
    """Return how `file` differs from its checksums, or None if it does not.

    A file of at most WHOLE_BYTES is checked completely. Of a larger one, random blocks are checked at every call, and
    all of them once per node and day.

    Args:
        file: its checksums are next to it.
        owner: as given to `write_checksums`.
        complete: check all blocks in any case.

    Raises:
        Error: this user may not read the file.
    """
    try:
        expected = _read_checksums(file.with_name(CHECKSUMS_NAME))
        descriptor = open_file(file)
    except FileNotFoundError as failure:
        return f"{Path(failure.filename).name} is missing"
    except PermissionError as failure:
        raise Error(
            f"{failure.filename} cannot be read: {failure.strerror}. Change its permissions or remove {file.parent}."
        ) from None
    except OSError as failure:
        return f"it cannot be read: {failure.strerror}"
    except ValueError as failure:
        return str(failure)
    try:
        return _difference(descriptor, file, expected, owner, complete)
    except OSError as failure:
        return f"it cannot be read: {failure.strerror}"
    finally:
        os.close(descriptor)


def open_file(path: Path) -> int:
    """Return the descriptor of a regular file, opened for reading.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is a link or anything else than a file.
    """
    if path.is_symlink():
        raise ValueError(f"{path.name} is a link")
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)  # a pipe would be waited for
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(f"{path.name} is not a file")
    return descriptor


def _read_checksums(path: Path) -> _Checksums:
    with open(open_file(path), "rb") as file:
        text = file.read(MAX_CHECKSUMS_BYTES + 1)
    if len(text) > MAX_CHECKSUMS_BYTES:
        raise ValueError(f"{path.name} is too large")
    return record(_Checksums, parse_object(text))


def _difference(descriptor: int, file: Path, expected: _Checksums, owner: str, complete: bool) -> str | None:
    num_bytes, num_blocks = os.fstat(descriptor).st_size, len(expected.sha256)
    if expected.owner != owner:
        return "it holds the images of another folder"
    if num_bytes != expected.num_bytes or num_blocks != -(-num_bytes // BLOCK_BYTES):
        return f"it holds {num_bytes:,} bytes instead of {expected.num_bytes:,}"
    complete = complete or num_bytes <= WHOLE_BYTES or not _was_checked_today(file.parent)
    blocks: Sequence[int] = range(num_blocks)
    if not complete:
        blocks = sorted(random.Random().sample(blocks, min(SAMPLED_BLOCKS, num_blocks)))  # other ones at every start
    found = _digests(descriptor, blocks, num_bytes)
    differing = [block for block, digest in zip(blocks, found, strict=True) if digest != expected.sha256[block]]
    if differing:
        return f"{len(differing):,} of {len(blocks):,} blocks differ"
    if complete:
        _note_complete_check(file.parent)
    return None


def _digests(descriptor: int, blocks: Sequence[int], num_bytes: int) -> list[str]:
    """Return the SHA-256 of some blocks of a file of `num_bytes`."""

    def digest(block: int) -> str:
        return hashlib.sha256(os.pread(descriptor, BLOCK_BYTES, block * BLOCK_BYTES)).hexdigest()

    digests = []
    with progress("checking", min(len(blocks) * BLOCK_BYTES, num_bytes), "bytes") as advance:
        for found in in_order((partial(digest, block) for block in blocks), num_cpus()):
            digests.append(found)
            advance(BLOCK_BYTES)
    return digests


def _was_checked_today(folder: Path) -> bool:
    try:
        age_s = time.time() - _mark_of_this_node(folder).lstat().st_mtime
    except OSError:
        return False
    return 0 <= age_s < COMPLETE_S


def _note_complete_check(folder: Path) -> None:
    """Mark that this node has checked all blocks; remove the marks of nodes that no longer use the folder."""
    now = time.time()
    with suppress(OSError):  # another user's cache: this node checks it completely at every start
        for mark in folder.glob("checked-by-*"):
            if now - mark.lstat().st_mtime > COMPLETE_S:
                mark.unlink()
        mark = _mark_of_this_node(folder)
        os.close(refuse_link(mark, os.O_WRONLY | os.O_CREAT))
        os.utime(mark, (now, now))  # by this node's clock, also on a network file system


def _mark_of_this_node(folder: Path) -> Path:
    return folder / f"checked-by-{os.uname().nodename}"
