"""Draw a tree of anime-like faces in the layout of a source, and build the sample set of one.

A search without data uses the sample set; it is drawn and built once per machine, then cached.
"""

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from shards_tools.build import write_shards
from shards_tools.cache import cache_folder
from shards_tools.command import say
from shards_tools.drawing.face import SIZE
from shards_tools.drawing.layouts import LAYOUTS
from shards_tools.errors import Error, unknown
from shards_tools.folders import build_locked, build_once, discard
from shards_tools.parallel import in_processes, num_cpus
from shards_tools.progress import progress
from shards_tools.sources import SOURCES
from shards_tools.verify import verify

SAMPLE_VERSION = 1  # increase when the drawing changes, so that an older sample set is not reused
IMAGES_PER_PROCESS = 100  # starting a process takes 0.3 s; in that time a running one draws about 30


def draw_tree(out: Path, *, layout: str = "plain", seed: int = 0, size: int = SIZE, **counts: int) -> dict[str, int]:
    """Draw a tree into the new folder `out` and return the numbers of works, roles and images.

    The pictures do not depend on the number of CPUs, which share the work.

    Args:
        size: width and height of a face, in px.
        counts: keyword arguments of the function in LAYOUTS.

    Raises:
        Error: the layout is unknown, or `out` exists.
    """
    if layout not in LAYOUTS:
        raise unknown("layout", layout, LAYOUTS)
    drawing = LAYOUTS[layout](seed, **counts)

    def fill(room: Path, lock: int) -> None:
        jobs = [{**job, "folder": str(room), "size": size} for job in drawing.jobs]
        num_processes = max(1, min(num_cpus(), drawing.num_images // IMAGES_PER_PROCESS))
        working = closing(in_processes(drawing.draw, jobs, num_processes, (lock,)))
        drawn = {}
        with progress("drawing", drawing.num_images) as advance, working as done:
            for number, boxes in done:
                drawn[number] = boxes
                advance(len(jobs[number]["files"]))
        drawing.write_lists(room, [drawn[number] for number in range(len(jobs))])

    build_locked(out, fill)
    return drawing.summary


def sample_set(folder: Path | None = None) -> Path:
    """Return the folder of the sample set's shards, in `folder` or `cache_folder()`; build them if missing."""
    shards = (folder or cache_folder()) / f"sample-v{SAMPLE_VERSION}"
    if not shards.exists():
        say(f"No data given: drawing a sample set of anime-like faces, once per machine, in {shards}.")
    build_once(shards, _draw_and_build)
    if _is_damaged(shards):
        if discard(shards, lambda: shards.exists() and _is_damaged(shards)):
            say(f"{shards} does not match its checksums: the sample set is rebuilt.")
        build_once(shards, _draw_and_build)
    say(f"Data: the drawn sample set in {shards}.")
    return shards


def _is_damaged(shards: Path) -> bool:
    try:
        verify(shards, "full")
    except Error:
        return True
    return False


def _draw_and_build(room: Path) -> None:
    with TemporaryDirectory(prefix="sakuga-") as pictures:
        draw_tree(Path(pictures))
        write_shards(SOURCES["lsasrd"](Path(pictures)), room)
