"""What a store is: a folder of shards, wherever it lies."""

from typing import Protocol


class Store(Protocol):
    """Files by name, read in pieces. `str()` of it is the address it was opened by, without any password."""

    is_local: bool  # on a disk of this machine, where a read costs next to nothing

    def place(self, name: str) -> str:
        """Where the file is, as messages name it."""

    def exists(self) -> bool:
        """Whether there is such a folder at all."""

    def size(self, name: str) -> int | None:
        """The bytes of a file, or None where there is none."""

    def read(self, name: str, start: int, size: int) -> bytes:
        """`size` bytes of a file from its byte `start` on; an Error where there are fewer."""
