"""Folders that appear whole or not at all: filled beside their place under a lock, and renamed when they are done."""

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shards_tools.errors import Error

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
LEAST_BYTES = 2**16  # less than the smallest of what is written; file systems keep some blocks back
LOCK_PATIENCE_S = 1.0  # the processes of a killed build hold its lock until they end, which takes them milliseconds


def build_new(target: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write a folder that then becomes `target`; an Error where something is there already.

    Nothing is visible at `target` before `fill` has returned. What a killed build leaves is hidden beside `target`,
    and the next build of the same target clears it away.
    """
    build_locked(target, lambda room, _: fill(room))


def build_locked(target: Path, fill: Callable[[Path, int], None], *, resumed: bool = False) -> None:
    """As `build_new`, for a `fill` that works in several processes, and may go on where a killed one stopped.

    Besides the folder it is handed the descriptor of its lock, for its processes to hold: while one of them lives
    nobody else writes there. With `resumed` it finds the folder as a killed or interrupted build left it. After an
    Error nothing is left in either case.
    """
    _refuse_what_is_there(target)
    with _room_beside(target, wait=False, resumed=resumed) as (room, descriptor):
        _refuse_what_is_there(target)
        if not resumed:
            _empty(room)
        fill(room, descriptor)
        _put_in_place(room, target)


def build_once(target: Path, fill: Callable[[Path], None]) -> Path:
    """`target`, filled by the first process that asks while the others wait; once there, it is never written again."""
    while not target.exists():
        with _room_beside(target, wait=True) as (room, _):
            if not target.exists():
                _empty(room)
                fill(room)
                _put_in_place(room, target)
    return target


def is_full(folder: Path) -> bool:
    """Whether nothing more can be written there."""
    return shutil.disk_usage(folder).free < LEAST_BYTES


def write_durably(path: Path, data: bytes) -> None:
    """Write `path` in one step: a reader finds the old file or the new one, also after a crash."""
    beside = path.with_name(f".{path.name}.writing")
    with open(beside, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    _sync_folder(path.parent)


def _refuse_what_is_there(target: Path) -> None:
    if target.is_dir():
        if any(target.iterdir()):
            raise Error(f"{target} exists and is not empty. Name a new folder, or remove this one first.")
    elif target.exists() or target.is_symlink():
        raise Error(f"{target} exists and is not a folder. Name a new folder.")


@contextmanager
def _room_beside(target: Path, *, wait: bool, resumed: bool = False) -> Iterator[tuple[Path, int]]:
    """A folder beside `target` and the descriptor of its lock, held by this process and those it hands it to.

    At the end it is removed if it still stands there; where the work can be `resumed`, Ctrl-C leaves it. The lock is on
    the folder itself, so no lock file stays behind, and the kernel releases it with its last process.
    """
    room = target.absolute().with_name(f".{target.name}.building")
    try:
        descriptor = _lock(room, target, wait=wait)
    except OSError as failure:
        raise Error(f"{target} cannot be written: {failure.strerror}. Name a folder that you may write to.") from None
    left = False
    try:
        yield room, descriptor
    except KeyboardInterrupt:
        left = resumed
        raise
    except OSError as failure:
        if failure.errno not in DISK_ERRORS:
            raise
        way_out = "Make room on that disk, or name a folder on another one."
        raise Error(f"{target} cannot be written: {failure.strerror}. {way_out}") from None
    finally:
        if not left and _is_open_folder(room, descriptor):
            shutil.rmtree(room, ignore_errors=True)
        os.close(descriptor)


def _lock(room: Path, target: Path, *, wait: bool) -> int:
    """An open, exclusively locked descriptor of `room`, which is made if it is missing."""
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        room.parent.mkdir(parents=True, exist_ok=True)
        room.mkdir(exist_ok=True)
        try:
            descriptor = os.open(room, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # its holder finished between the two lines above
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            if time.monotonic() < deadline:
                time.sleep(0.05)
                continue
            raise Error(f"{target} is being built by another process. Wait for it, or name another folder.") from None
        if _is_open_folder(room, descriptor):
            return descriptor
        os.close(descriptor)  # while we waited, its holder renamed or removed it


def _is_open_folder(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _put_in_place(room: Path, target: Path) -> None:
    _sync_folder(room)
    os.rename(room, target)
    _sync_folder(target.absolute().parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
