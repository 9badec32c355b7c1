"""The interface of a store: a local or remote folder of shards."""

import re
from typing import Protocol

from shards_tools.errors import Error

NAME = re.compile(r"[\w.-]+")


class Store(Protocol):
    """Files by name, read in ranges. `str()` returns the address that was opened, without the password."""

    is_local: bool  # on a disk of this machine, where reads are cheap

    def place(self, name: str) -> str:
        """Return the path or address of the file, for messages."""

    def exists(self) -> bool:
        """Return whether the folder exists."""

    def size(self, name: str) -> int | None:
        """Return the size of a file in bytes, or None if there is none."""

    def read(self, name: str, start: int, size: int) -> bytes:
        """Read `size` bytes of a file from byte `start` on; a file that ends earlier is an Error."""


def check_name(store: Store, name: str) -> None:
    """Raise an Error if the name is not a single path component, so that no name leads out of the store."""
    if not NAME.fullmatch(name) or set(name) == {"."}:
        raise Error(f"{name!r:.200} is not a valid file name in {store}. Use only letters, digits and _.- in it.")
