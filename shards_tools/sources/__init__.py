"""The registry of sources. To add a source, write one file with a function `scan` and add its name here."""

import importlib
from collections.abc import Callable
from pathlib import Path

from shards_tools.registry import Registry
from shards_tools.sources.source import Source

Scan = Callable[[Path], Source]


def _scan_of(module: str) -> Scan:
    """Return the function `scan` of a module here, which is imported when it is called."""

    def scan(folder: Path) -> Source:
        source: Source = importlib.import_module(f"{__name__}.{module}").scan(folder)
        return source

    return scan


NAMES = ("lsasrd", "dafre", "dafull", "daf", "moeimouto", "icartoonface", "folder")
SOURCES: Registry[Scan] = Registry("source", {name: _scan_of(name) for name in NAMES})


def register_source(name: str, scan: Scan) -> None:
    """Make a layout of your own available as `python -m shards_tools build NAME SOURCE`.

    Args:
        scan: takes the folder SOURCE and returns a `Source`: every image with its labels and its split.

    Raises:
        Error: the name is taken by a different function, or is not a valid name.
    """
    SOURCES.register(name, scan)
