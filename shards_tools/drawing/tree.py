"""Draw a tree of faces in the layout of one of the sources."""

from contextlib import closing
from pathlib import Path

from shards_tools.drawing.face import SIZE
from shards_tools.drawing.layouts import LAYOUTS
from shards_tools.errors import unknown
from shards_tools.folders import build_locked
from shards_tools.processes import in_processes, num_cpus
from shards_tools.progress import progress

IMAGES_PER_PROCESS = 100  # starting a process takes 0.3 s; in that time a running one draws about 30


def draw_tree(out: Path, *, layout: str = "plain", seed: int = 0, size: int = SIZE, **counts: int) -> dict[str, int]:
    """Draw a tree into the new folder `out` and return the numbers of works, roles and images.

    The pictures do not depend on the number of CPUs, which share the work.

    Args:
        size: width and height of a face, in px.
        counts: keyword arguments of the function in LAYOUTS.
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
