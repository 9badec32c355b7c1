"""What stores beyond this machine share: checked names, repeated requests, connections of each process its own."""

import os
from abc import ABC, abstractmethod
from typing import Any

from shards_tools.stores.address import Address
from shards_tools.stores.retry import persist
from shards_tools.stores.store import check_name


class RemoteStore(ABC):
    """Files below an address. A subclass says how to connect, and asks once for a size or for a range."""

    is_local = False

    def __init__(self, address: Address) -> None:
        self._address = address
        self._link, self._pid = self._connect(), os.getpid()

    def __reduce__(self) -> tuple[type["RemoteStore"], tuple[Address]]:
        return type(self), (self._address,)

    def __str__(self) -> str:
        return str(self._address)

    def place(self, name: str) -> str:
        """The file's address, without the password."""
        return f"{self._address}/{name}"

    def size(self, name: str) -> int | None:
        """The bytes of a file, or None where there is none, or no such folder."""
        check_name(self, name)
        return persist(self.place(name), lambda: self._ask_size(name))

    def read(self, name: str, start: int, size: int) -> bytes:
        """`size` bytes from byte `start` on, by one range request."""
        check_name(self, name)
        return persist(self.place(name), lambda: self._ask_range(name, start, size)) if size else b""

    @property
    def _connection(self) -> Any:
        """What `_connect` gave to this process: a forked one must not share its parent's."""
        if self._pid != os.getpid():
            self._link, self._pid = self._connect(), os.getpid()
        return self._link

    @abstractmethod
    def exists(self) -> bool:
        """Whether there is such a folder at all."""

    @abstractmethod
    def _connect(self) -> Any:
        """Whatever keeps connections open."""

    @abstractmethod
    def _ask_size(self, name: str) -> int | None:
        """As `size`, asked once: a Stumble where it is worth asking again."""

    @abstractmethod
    def _ask_range(self, name: str, start: int, size: int) -> bytes:
        """As `read`, asked once: a Stumble where it is worth asking again."""
