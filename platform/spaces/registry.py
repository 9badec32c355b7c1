"""The search spaces by name. Reading this imports none of them."""

from __future__ import annotations

import pkgutil
from pathlib import Path

import search_spaces
from shards_tools.errors import Error, unknown


def space_names() -> list[str]:
    """The names of the spaces that come with the project."""
    return sorted(
        module.name for module in pkgutil.iter_modules(search_spaces.__path__) if not module.name.startswith("_")
    )


def check_space(space: object) -> None:
    """Refuse what is no space, without loading it.

    Raises:
        Error: there is no space of that name, no such file, or the object has no function `suggest`.
    """
    if not isinstance(space, str):
        if not callable(space) and not callable(getattr(space, "suggest", None)):
            raise Error(f"space={space!r} is not a space. Give a name, a file, or a function suggest(trial).")
    elif space.endswith(".py"):
        if not Path(space).is_file():
            raise Error(f"There is no space file {space}. Spaces by name: {', '.join(space_names())}.")
    elif space not in space_names():
        raise unknown("space", space, space_names())
