"""What a store is: a folder of shards, wherever it lies."""

import re
from typing import Protocol

from shards_tools.errors import Error

NAME = re.compile(r"[\w.-]+")


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


def check_name(store: Store, name: str) -> None:
    """Refuse a name that is not one plain part of a path, so that none leads out of the store."""
    if not NAME.fullmatch(name) or set(name) == {"."}:
        raise Error(f"{name!r:.200} is no name of a file in {store}: letters, digits and _.- may stand in it.")
