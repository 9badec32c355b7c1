"""A folder on a disk of this machine."""

import os
from pathlib import Path

from shards_tools.errors import Error


class LocalStore:
    """Files of a local folder."""

    is_local = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder

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
        path = self.folder / name
        return path.stat().st_size if path.is_file() else None

    def read(self, name: str, start: int, size: int) -> bytes:
        """`size` bytes from byte `start` on."""
        try:
            with open(self.folder / name, "rb", buffering=0) as file:
                data = os.pread(file.fileno(), size, start)
        except OSError as failure:
            raise Error(f"{self.place(name)} cannot be read: {failure.strerror}.") from failure
        if len(data) != size:
            raise Error(f"{self.place(name)} ends after {start + len(data):,} bytes, {start + size:,} were expected.")
        return data
