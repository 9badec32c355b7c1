"""Create folders atomically: fill a hidden folder next to the target under a lock, then rename it."""

import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedRandom
from pathlib import Path

from shards_tools.errors import Error

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
LEAST_BYTES = 2**16  # below the smallest file we write; file systems reserve some blocks
LOCK_PATIENCE_S = 1.0  # processes of a killed build hold its lock until they exit, a few milliseconds later


class Resumable(Error):
    """A mistake after which a build keeps what it has done, for its next start."""


def build_new(target: Path, fill: Callable[[Path], None]) -> None:
    """Create `target` by calling `fill` on a hidden folder and renaming it; an Error if `target` already exists.

    Nothing is visible at `target` before `fill` returns. A killed build leaves a hidden folder next to `target`, which
    the next build of the same target removes. An empty folder at `target` is replaced.

    Raises:
        Error: `target` exists, is being built by another process, or cannot be written.
    """
    build_locked(target, lambda room, _: fill(room))


def build_locked(target: Path, fill: Callable[[Path, int], None], *, resumed: bool = False) -> None:
    """Like `build_new`, for a `fill` that uses several processes and may resume a killed build.

    After an Error nothing is left, except after a Resumable one.

    Args:
        fill: called with the folder and the descriptor of its lock. Its processes inherit the descriptor: while one of
            them is alive, no other build writes to the folder.
        resumed: keep the contents that a killed, interrupted or Resumable build left.

    Raises:
        Error: `target` exists, is being built by another process, or cannot be written.
    """
    refuse_existing(target)
    with _room_beside(target, wait=False, resumed=resumed) as (room, descriptor):
        refuse_existing(target)
        if not resumed:
            _empty(room)
        fill(room, descriptor)
        _put_in_place(room, target)


def build_once(target: Path, fill: Callable[[Path], None]) -> Path:
    """Return `target`, filled by the first caller while others wait; once it exists, it is never written again.

    Raises:
        Error: `target` cannot be written.
    """
    while not os.path.lexists(target):
        with _room_beside(target, wait=True) as (room, _):
            if not os.path.lexists(target):
                _empty(room)
                fill(room)
                _put_in_place(room, target)
    return target


def discard(target: Path, is_damaged: Callable[[], bool]) -> bool:
    """Remove what `build_once` made if it is damaged, and return whether this call removed it.

    Several processes may find the same damage: under the lock of the build, the first one removes the folder, and the
    others find none, or a new one. No process sees the folder half removed, and open files of it can still be read.

    Raises:
        Error: the folder cannot be removed.
    """
    with _room_beside(target, wait=True) as (room, _):
        if not is_damaged():
            return False
        _empty(room)
        try:
            os.rename(target, room / target.name)  # which is removed now, or by the next build after a kill
        except FileNotFoundError:  # just evicted
            return False
        except OSError as failure:
            raise Error(f"{target} is damaged and cannot be removed: {failure.strerror}. Remove it.") from None
        return True


def try_to_write(folder: Path) -> None:
    """Write a file to a folder that has no name there, so that nothing is left.

    Raises:
        OSError: this user may not write there, or the disk takes no more files.
    """
    with tempfile.TemporaryFile(dir=folder):
        pass


def is_full(folder: Path) -> bool:
    """Return whether the disk of `folder` has no space for a further file."""
    return has_no_inodes(folder) or shutil.disk_usage(folder).free < LEAST_BYTES


def has_no_inodes(folder: Path) -> bool:
    """Return whether the disk of `folder` has as many files as it can, whatever its free space."""
    disk = os.statvfs(folder)
    return disk.f_files > 0 and disk.f_favail == 0  # file systems without a limit report 0 files


def full_folder(folder: Path, failure: BaseException) -> Path:
    """Return the folder whose disk is full: that of the file that failed, the temporary folder, or else `folder`.

    Args:
        folder: where files are expected to be written.
        failure: the error of a write; it often has no file name.
    """
    named = written_file(failure)
    if isinstance(named, str):
        place = Path(named) if Path(named).is_dir() else Path(named).parent
        return folder if place.absolute().is_relative_to(folder.absolute()) else place
    temporary = Path(tempfile.gettempdir())
    return temporary if is_full(temporary) and not is_full(folder) else folder


def written_file(failure: BaseException) -> str | None:
    """Return the file that could not be written; the error of a copy names its source first."""
    named: str | None = getattr(failure, "filename2", None) or getattr(failure, "filename", None)
    return named


def means_full_disk(failure: BaseException) -> bool:
    """Return whether an error, perhaps another library's own, says that a disk or a quota is full."""
    return any(os.strerror(code) in str(failure) for code in (errno.ENOSPC, errno.EDQUOT))


def refuse_link(path: str | Path, flags: int) -> int:
    """Open a file or a folder that is ours to empty or overwrite; an opener for `open`.

    Raises:
        Error: it is a link, whose target would be emptied or overwritten.
    """
    try:
        return os.open(path, flags | os.O_NOFOLLOW, 0o666)
    except OSError:
        if not os.path.islink(path):
            raise
        raise Error(f"{path} is a link to {os.readlink(path)}, which would be overwritten. Remove the link.") from None


def write_durably(path: Path, data: bytes) -> None:
    """Write `path` atomically: a reader sees the old file or the new one, even after a crash."""
    with durable_file(path) as file:
        file.write(data)


@contextmanager
def durable_file(path: Path) -> Iterator[BufferedRandom]:
    """Yield a file to write and read, which replaces `path` atomically at the end; after an error `path` is as it was.

    A reader of `path` sees the old file or the new one, even after a crash.
    """
    beside = path.with_name(f".{path.name}.writing")
    with open(beside, "w+b", opener=refuse_link) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    _sync_folder(path.parent)


def sync_files(folder: Path, levels: int = 3) -> None:
    """Make the files in a folder and its place in `levels` folders above survive a power failure."""
    for file in folder.iterdir():
        if file.is_file():
            with open(file, "rb") as content:
                os.fsync(content.fileno())
    for place in (folder, *list(folder.parents)[:levels]):
        _sync_folder(place)


def refuse_existing(target: Path) -> None:
    """Refuse a target that exists; a command that works for long before it builds asks first.

    Raises:
        Error: `target` exists and is not an empty folder.
    """
    if target.is_dir():
        if any(target.iterdir()):
            raise Error(f"{target} exists and is not empty. Use a new folder or remove this one first.")
    elif target.exists() or target.is_symlink():
        raise Error(f"{target} exists and is not a folder. Use a new folder.")


@contextmanager
def _room_beside(target: Path, *, wait: bool, resumed: bool = False) -> Iterator[tuple[Path, int]]:
    """Yield a hidden folder next to `target` and the descriptor of its lock, which child processes may inherit.

    On exit the folder is removed if it was not renamed; with `resumed`, Ctrl-C and a Resumable mistake keep it. The
    lock is on the folder itself, so no lock file is left, and the kernel releases it when the last process that holds
    it exits.
    """
    room = target.absolute().with_name(f".{target.name}.building")
    try:
        descriptor = _lock(room, target, wait=wait)
    except OSError as failure:
        raise Error(f"{target} cannot be written: {failure.strerror}. Use a folder with write permission.") from None
    left = False
    try:
        yield room, descriptor
    except (KeyboardInterrupt, Resumable):
        left = resumed
        raise
    except OSError as failure:
        if failure.errno not in DISK_ERRORS:
            raise
        way_out = "Free space on that disk, or use a folder on another one."
        raise Error(f"{target} cannot be written: {failure.strerror}. {way_out}") from None
    finally:
        if not left and _is_open_folder(room, descriptor):
            shutil.rmtree(room, ignore_errors=True)
        os.close(descriptor)


def _lock(room: Path, target: Path, *, wait: bool) -> int:
    """Return an open, exclusively locked descriptor of `room`, which is created if missing."""
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        room.parent.mkdir(parents=True, exist_ok=True)
        if not room.is_symlink():
            with suppress(FileExistsError):  # mkdir(exist_ok=True) raises it if the folder is removed meanwhile
                room.mkdir()
        try:
            descriptor = refuse_link(room, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # the lock's holder finished between the two lines above
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            if time.monotonic() < deadline:
                time.sleep(0.05)
                continue
            raise Error(f"{target} is being built by another process. Wait for it, or use another folder.") from None
        if _is_open_folder(room, descriptor):
            return descriptor
        os.close(descriptor)  # while we waited, the lock's holder renamed or removed it


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
