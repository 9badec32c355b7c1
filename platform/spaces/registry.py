"""The search spaces by name, without importing them."""

from __future__ import annotations

import pkgutil
from pathlib import Path

import search_spaces
from shards_tools.errors import Error, unknown


def space_names() -> list[str]:
    """Return the names of the built-in spaces."""
    return sorted(
        module.name for module in pkgutil.iter_modules(search_spaces.__path__) if not module.name.startswith("_")
    )


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
