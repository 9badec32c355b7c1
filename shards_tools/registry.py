"""Registries: names that users may add to. Choices, checks and messages about a name all come from its registry."""

import importlib
import re
from typing import Any, TypeVar

from shards_tools.errors import Error, unknown

Entry = TypeVar("Entry")

NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")


class Registry(dict[str, Entry]):
    """Entries by name, in the order in which they were added.

    Args:
        kind: what a name stands for, as messages call it.
        entries: those that come with this project.
        listing: the command that lists all names, if there is one.
    """

    num_registered = 0  # names that `register` added, over all registries

    def __init__(self, kind: str, entries: dict[str, Entry], listing: str | None = None) -> None:
        super().__init__(entries)
        self.kind = kind
        self.listing = listing
        self.added: set[str] = set()  # names that `register` added

    def find(self, name: str) -> Entry:
        """Return the entry called `name`.

        Raises:
            Error: there is none; the message names the nearest, and the known ones or the command that lists them.
        """
        if name not in self:
            message = unknown(self.kind, name, self, listing=self.listing)
            raise Error(f"{message} If a file of yours registers it, add --import FILE.py.")
        return self[name]

    def register(self, name: str, entry: Entry) -> None:
        """Add an entry; adding the same one again changes nothing, because a file may be imported twice.

        Raises:
            Error: the name is taken by a different entry, or is not a valid name.
        """
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise Error(f"{name!r} is not a valid name for a {self.kind}. Use letters, digits and any of _ . + -")
        if name in self and not _same(self[name], entry):
            raise Error(f"A different {self.kind} is already registered as {name!r}. Choose another name.")
        if name not in self:
            self[name] = entry
            self.added.add(name)
            Registry.num_registered += 1


def resolve(address: str) -> Any:
    """Return the function or class at "module:name", importing its module."""
    module, _, name = address.partition(":")
    return getattr(importlib.import_module(module), name)


def _same(one: Any, other: Any) -> bool:
    """Return whether two entries are equal, or were made by the same lines of the same file."""
    if one == other:
        return True
    codes = [_code(getattr(entry, "factory", entry)) for entry in (one, other)]
    return codes[0] is not None and codes[0] == codes[1]


def _code(factory: Any) -> tuple[str, Any] | None:
    """Return the file and the code of a function or class; None if it depends on more than its code."""
    function = vars(factory).get("__init__") if isinstance(factory, type) else factory
    code = getattr(function, "__code__", None)
    if code is None or getattr(function, "__closure__", None) or getattr(function, "__defaults__", None):
        return None
    return code.co_filename, code
