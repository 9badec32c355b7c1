"""The embedded sample set: what a search reads when no data is named. Drawn and built once per machine, then kept."""

from pathlib import Path
from tempfile import TemporaryDirectory

from shards_tools.build import write_shards
from shards_tools.cache import cache_folder
from shards_tools.command import say
from shards_tools.drawing.tree import draw_tree
from shards_tools.folders import build_once
from shards_tools.sources import SOURCES

SAMPLE_VERSION = 1  # raised when the drawing changes, so that an older sample set is not taken for it


def sample_set(folder: Path | None = None) -> Path:
    """The folder of the sample set's shards, under `folder` or `cache_folder()`."""
    shards = (folder or cache_folder()) / f"sample-v{SAMPLE_VERSION}"
    if not shards.exists():
        say(f"No data named: drawing a sample set of anime-like faces, once for this machine, in {shards}.")
    build_once(shards, _draw_and_build)
    say(f"Data: the drawn sample set in {shards}.")
    return shards


def _draw_and_build(room: Path) -> None:
    with TemporaryDirectory(prefix="sakuga-") as pictures:
        draw_tree(Path(pictures))
        write_shards(SOURCES["lsasrd"](Path(pictures)), room)
