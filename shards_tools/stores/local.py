"""A local folder."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from shards_tools.errors import Unreadable
from shards_tools.stores.store import check_name

MAX_OPEN = 256  # files per store; the default limit of a process is 1,024


class LocalStore:
    """Files of a local folder. A file stays open once read: opening it takes ten times as long as reading.

    A file that is replaced is still read as it was when it was opened. Threads and forked processes can share a store,
    because a read does not move the file position.
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
        return str(self.folder / name)

    def exists(self) -> bool:
        return self.folder.is_dir()

    def size(self, name: str) -> int | None:
        check_name(self, name)
        path = self.folder / name
        return path.stat().st_size if path.is_file() else None

    def read(self, name: str, start: int, size: int) -> bytes:
        try:
            file = self._open.get(name) or self._opened(name)
            data = os.pread(file.number, size, start)
        except OSError as failure:
            raise self._unreadable(name, failure) from failure
        if len(data) != size:
            raise Unreadable(
                f"{self.place(name)} ends after {start + len(data):,} bytes, but {start + size:,} were expected."
                " Copy or build it again."
            )
        return data

    def open(self, name: str) -> BinaryIO:
        """Open a file, which the caller closes, as it is now.

        Raises:
            Error: it cannot be read.
        """
        check_name(self, name)
        try:
            return open(self.folder / name, "rb")
        except OSError as failure:
            raise self._unreadable(name, failure) from failure

    def renew(self, name: str) -> bool:
        """Return False: this is no copy of other files."""
        return False

    def _unreadable(self, name: str, failure: OSError) -> Unreadable:
        return Unreadable(f"{self.place(name)} cannot be read: {failure.strerror}. Check the file and its permissions.")

    def _opened(self, name: str) -> "_Descriptor":
        check_name(self, name)
        file = _Descriptor(os.open(self.folder / name, os.O_RDONLY | os.O_CLOEXEC))
        with self._changing:
            while len(self._open) >= MAX_OPEN:
                del self._open[next(iter(self._open))]
            self._open[name] = file
        return file


class _Descriptor:
    """An open file, closed when the last thread that reads it is done."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        close(self.number)
