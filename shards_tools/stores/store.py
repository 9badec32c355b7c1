"""The interface of a store, a local or remote folder of shards, and the base class of remote ones."""

import os
import re
from abc import ABC, abstractmethod
from typing import Any, Protocol

from shards_tools.errors import Error
from shards_tools.stores.address import Address
from shards_tools.stores.retry import persist

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
        """Read `size` bytes of a file from byte `start` on.

        Raises:
            Error: the file cannot be read, or ends earlier.
        """

    def renew(self, name: str) -> bool:
        """Discard a damaged copy of a file, and return whether reading the file again may help."""


def check_name(store: Store, name: str) -> None:
    """Check that a name does not lead out of the store.

    Raises:
        Error: the name is not a single path component.
    """
    if not NAME.fullmatch(name) or set(name) == {"."}:
        raise Error(f"{name!r:.200} is not a valid file name in {store}. Use only letters, digits and _.- in it.")


class RemoteStore(ABC):
    """Files below an address: it checks names, retries requests and opens one connection per process.

    A subclass connects, and requests a size or a range once.
    """

    is_local = False

    def __init__(self, address: Address) -> None:
        self._address = address
        self._link, self._pid = self._connect(), os.getpid()

    def __reduce__(self) -> tuple[type["RemoteStore"], tuple[Address]]:
        return type(self), (self._address,)

    def __str__(self) -> str:
        return str(self._address)

    def place(self, name: str) -> str:
        """Return the file's address, without the password."""
        return f"{self._address}/{name}"

    def size(self, name: str) -> int | None:
        """Return the size of a file in bytes, or None if the file or the folder does not exist."""
        check_name(self, name)
        return persist(self.place(name), lambda: self._ask_size(name))

    def read(self, name: str, start: int, size: int) -> bytes:
        """Read `size` bytes from byte `start` on, with one range request."""
        check_name(self, name)
        return persist(self.place(name), lambda: self._ask_range(name, start, size)) if size else b""

    def renew(self, name: str) -> bool:
        """Return False: this is no copy of other files."""
        return False

    @property
    def _connection(self) -> Any:
        """Return this process's connection: a forked process must not share its parent's."""
        if self._pid != os.getpid():
            self._link, self._pid = self._connect(), os.getpid()
        return self._link

    @abstractmethod
    def exists(self) -> bool:
        """Return whether the folder exists."""

    @abstractmethod
    def _connect(self) -> Any:
        """Return a new connection or pool of connections."""

    @abstractmethod
    def _ask_size(self, name: str) -> int | None:
        """Like `size`, with one request; raise Stumble if a retry may help."""

    @abstractmethod
    def _ask_range(self, name: str, start: int, size: int) -> bytes:
        """Like `read`, with one request; raise Stumble if a retry may help."""
