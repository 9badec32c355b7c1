"""A folder on a disk of this machine."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

from shards_tools.errors import Error
from shards_tools.stores.store import check_name

MAX_OPEN = 256  # files of one store; a process may have 1,024 by default


class LocalStore:
    """Files of a local folder, kept open once read: opening each time takes ten times as long as reading.

    A file that is replaced by another goes on being read as it was. Threads and forked processes share a store, since
    a read moves no file position.
    """

    is_local = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[str, _Descriptor] = {}
        self._changing = threading.Lock()

    def __reduce__(self) -> tuple[type["LocalStore"], tuple[Path]]:
        return LocalStore, (self.folder,)

    def __str__(self) -> str:
        return str(self.folder)

    def place(self, name: str) -> str:
        """The file's path."""
        return str(self.folder / name)

    def exists(self) -> bool:
        """Whether the folder is there."""
        return self.folder.is_dir()

    def size(self, name: str) -> int | None:
        """The bytes of a regular file, or None where there is none."""
        check_name(self, name)
        path = self.folder / name
        return path.stat().st_size if path.is_file() else None

    def read(self, name: str, start: int, size: int) -> bytes:
        """`size` bytes from byte `start` on."""
        try:
            file = self._open.get(name) or self._opened(name)
            data = os.pread(file.number, size, start)
        except OSError as failure:
            raise Error(f"{self.place(name)} cannot be read: {failure.strerror}.") from failure
        if len(data) != size:
            raise Error(f"{self.place(name)} ends after {start + len(data):,} bytes, {start + size:,} were expected.")
        return data

    def _opened(self, name: str) -> "_Descriptor":
        check_name(self, name)
        file = _Descriptor(os.open(self.folder / name, os.O_RDONLY | os.O_CLOEXEC))
        with self._changing:
            while len(self._open) >= MAX_OPEN:
                del self._open[next(iter(self._open))]
            self._open[name] = file
        return file


class _Descriptor:
    """An open file, closed when the last thread that reads it lets go."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        close(self.number)
