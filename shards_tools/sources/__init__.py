"""The registry of sources. To add a source, write one file that scans it and add one line here."""

from collections.abc import Callable
from pathlib import Path

from shards_tools.sources import daf, dafre, dafull, folder, icartoonface, lsasrd, moeimouto
from shards_tools.sources.source import Source

SOURCES: dict[str, Callable[[Path], Source]] = {
    "lsasrd": lsasrd.scan,
    "dafre": dafre.scan,
    "dafull": dafull.scan,
    "daf": daf.scan,
    "moeimouto": moeimouto.scan,
    "icartoonface": icartoonface.scan,
    "folder": folder.scan,
}
