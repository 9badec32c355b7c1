"""The sample set that a search uses when no data is given: drawn and built once per machine, then cached."""

from pathlib import Path
from tempfile import TemporaryDirectory

from shards_tools.build import write_shards
from shards_tools.cache import cache_folder
from shards_tools.command import say
from shards_tools.drawing.tree import draw_tree
from shards_tools.folders import build_once
from shards_tools.sources import SOURCES

SAMPLE_VERSION = 1  # increase when the drawing changes, so that an older sample set is not reused


def sample_set(folder: Path | None = None) -> Path:
    """Return the folder of the sample set's shards, in `folder` or `cache_folder()`; build them if missing."""
    shards = (folder or cache_folder()) / f"sample-v{SAMPLE_VERSION}"
    if not shards.exists():
        say(f"No data given: drawing a sample set of anime-like faces, once per machine, in {shards}.")
    build_once(shards, _draw_and_build)
    say(f"Data: the drawn sample set in {shards}.")
    return shards


def _draw_and_build(room: Path) -> None:
    with TemporaryDirectory(prefix="sakuga-") as pictures:
        draw_tree(Path(pictures))
        write_shards(SOURCES["lsasrd"](Path(pictures)), room)
