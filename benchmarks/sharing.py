"""Four processes that read one decoded cache, like the trials of a machine, compared with one alone.

The limit on their images per CPU-second is lowered to what four processes that only copy the images reach. Run: python
benchmarks/sharing.py. Exits with 1 if a limit is exceeded.
"""

import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch

from benchmarks.loading.pictures import draw_shards
from shards_tools.images import Images, open_images
from shards_tools.manifest import Manifest
from shards_tools.manifest_file import read_manifest
from trainables.data.batches import EpochBatches, TrainingSet
from trainables.recipes import get_recipe
from trainables.recipes.settings import override

NUM_READERS = 4
NUM_PASSES = 6  # half a second
NUM_TURNS = 25
BATCH = 64
MIN_OF_FOUR = 0.9
processes = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Sharing:
    """Four concurrent readers compared with one."""

    batches: float  # images per CPU-second, relative to one reader
    copies: float  # the same for readers that only copy the images: the limit of the memory
    copied: float  # a reader's private memory as a share of the pixels, at most


def four_beside_one(manifest: Manifest, size: int) -> Sharing:
    """Return the medians over turns of half a second, in which first one reads alone and then all four.

    The readers stay alive from turn to turn, so that other load and clock speed affect both sides of a ratio.
    """
    readers = [_start(manifest, size) for _ in range(NUM_READERS)]
    ratios: dict[str, list[float]] = {"batches": [], "copies": []}
    for turn in range(NUM_TURNS):
        for work, found in ratios.items():
            (alone,) = _ask([readers[turn % NUM_READERS]], work)
            found.append(statistics.mean(_ask(readers, work)) / alone)
    grown = max(_ask(readers, "end"))
    medians = {work: statistics.median(found) for work, found in ratios.items()}
    return Sharing(**medians, copied=grown / (manifest.num_images * size * size * 3))


def _start(manifest: Manifest, size: int) -> Connection:
    here, there = processes.Pipe()
    processes.Process(target=_serve, args=(str(manifest.store), size, there), daemon=True).start()
    return here


def _ask(readers: list[Connection], work: str) -> list[float]:
    for reader in readers:
        reader.send(work)
    return [reader.recv() for reader in readers]


def _serve(address: str, size: int, parent: Connection) -> None:
    """Answer the parent's requests with images per CPU-second, and at the end with the memory used."""
    torch.set_num_threads(1)
    manifest = read_manifest(address)
    images = open_images(manifest, size, size, "decoded")
    before = _own_bytes()
    works: dict[str, Callable[[], int]] = {
        "batches": lambda: _read_batches(manifest, images, size),
        "copies": lambda: _copy_images(manifest, images, size),
    }
    works["batches"]()  # the first pass finds the pixels on disk
    while (work := parent.recv()) != "end":
        parent.send(_images_per_cpu_second(works[work]))
    parent.send(_own_bytes() - before)


def _read_batches(manifest: Manifest, images: Images, size: int) -> int:
    """Read batches as a training does; return how many images they held."""
    recipe = override(get_recipe("transreid-vit-base"), {"image_size": size, "pretrained": False})
    data = TrainingSet(images, np.arange(manifest.num_images), manifest.work.astype(np.int64), manifest.role)
    epochs = [EpochBatches(data, recipe, seed=0, epoch=epoch) for epoch in range(1, NUM_PASSES + 1)]
    return sum(len(batch.labels) for epoch in epochs for batch in epoch.start())


def _copy_images(manifest: Manifest, images: Images, size: int) -> int:
    """Copy each image to where a batch would put it, in random order."""
    assert hasattr(images, "views")
    rooms = np.empty((3 * BATCH, size, size, 3), np.uint8)
    draw = np.random.default_rng(0)
    for _ in range(NUM_PASSES):
        for place, image_HWC in enumerate(images.views(draw.permutation(manifest.num_images))):
            rooms[place % len(rooms)] = image_HWC
    return NUM_PASSES * manifest.num_images


def _images_per_cpu_second(work: Callable[[], int]) -> float:
    before = resource.getrusage(resource.RUSAGE_SELF)
    num_images = work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return num_images / (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _own_bytes() -> int:
    """Return the private memory of this process that is not file-backed: anonymous memory in /proc."""
    lines: Iterable[str] = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:"))


def main() -> None:
    """Print the ratios, and exit with 1 if a limit is exceeded."""
    with tempfile.TemporaryDirectory() as name:
        os.environ["SAKUGA_CACHE"] = str(Path(name) / "cache")
        four = four_beside_one(draw_shards(Path(name), 256, 1280), 256)
    print(f"four processes on one cache: {four.batches:.2f} of one's images per CPU-second (limit {MIN_OF_FOUR})")
    print(f"four that only copy the images: {four.copies:.2f}; the limit is the lower of the two")
    print(f"private memory of a reader of all pixels: {four.copied:.2f} of the pixels (limit 0.5)")
    sys.exit(0 if four.batches >= min(MIN_OF_FOUR, four.copies) and four.copied <= 0.5 else 1)


if __name__ == "__main__":
    main()
