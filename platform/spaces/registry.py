"""The search spaces by name."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path
from typing import Any

import search_spaces
from shards_tools.errors import Error, unknown


@cache
def _built_in() -> dict[str, Any]:
    """Return the built-in spaces: the modules of `search_spaces`, or the entries of a module's `SPACES`."""
    spaces: dict[str, Any] = {}
    for info in pkgutil.iter_modules(search_spaces.__path__):
        if not info.name.startswith("_"):
            module = importlib.import_module(f"search_spaces.{info.name}")
            spaces |= getattr(module, "SPACES", {info.name: module})
    return spaces


def space_names() -> list[str]:
    """Return the names of the built-in spaces."""
    return sorted(_built_in())


def built_in(name: str) -> Any:
    """Return the object with the `suggest` and the `BASELINES` of a built-in space."""
    return _built_in()[name]


def check_space(space: object) -> None:
    """Check that a space exists, without loading it.

    Args:
        space: a name, a file, a function, or an object with `suggest`.

    Raises:
        Error: the name is unknown, the file does not exist, or the object has no function `suggest`.
    """
    if not isinstance(space, str):
        if not callable(space) and not callable(getattr(space, "suggest", None)):
            raise Error(f"space={space!r} is not a space. Pass a name, a file, or a function suggest(trial).")
    elif space.endswith(".py"):
        if not Path(space).is_file():
            raise Error(
                f"The space file {space} does not exist. Check the path, or see `python -m search_spaces --list`."
            )
    elif space not in space_names():
        raise unknown("space", space, space_names())
