"""Images per CPU-second and per second of every reading, compared with the loaders of others and a bare numpy gather.

Peers are SPDL and DALI (`pip install spdl spdl_io nvidia-dali-cuda120`; SPDL also needs FFmpeg's libraries), litdata,
webdataset and a TransReID-style folder loader; those that are not installed are left out. All run in turn in every
round, at 256 and 128 px; the ratios are medians over the rounds. CPU time is user and system time of all processes.
`float` loaders yield normalized and erased float32, the others uint8. Run, in about two minutes:

    python benchmarks/loader.py                                 # drawn pictures
    python benchmarks/loader.py --data SHARDS --size 256        # your own

Exits with 1 if a limit on images per CPU-second is exceeded.
"""

import argparse
import importlib.util
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.loading import peers
from benchmarks.loading.peers import BATCH, Encoded
from benchmarks.loading.pictures import draw_shards
from shards_tools.images import DecodedImages, OffsetImages, one_shape, open_images
from shards_tools.manifest import Manifest
from shards_tools.manifest_file import read_manifest
from shards_tools.reader import read_image
from trainables.data.batches import EpochBatches, TrainingSet
from trainables.models.input_step import InputStep
from trainables.recipes import get_recipe
from trainables.recipes.recipe import Recipe
from trainables.recipes.settings import override

NUM_IMAGES = {256: 640, 128: 1280}
NUM_ROUNDS = 5
PASSES_OF_A_GATHER = 10  # one takes milliseconds
FOLDER, GATHER = "folder, float", "bare numpy gather"
# loader, its peer, and the required ratio of images per CPU-second at 256 and at 128 px
LIMITS = [
    ("decoded, training, float", FOLDER, (3.3, 7.0)),
    ("decoded, training", FOLDER, (9.0, 12.0)),
    ("offset, training", FOLDER, (2.8, 2.8)),
    ("decoded, 1 thread", GATHER, (0.5, 0.5)),
    ("offset, 1 thread", "SPDL, 1 thread", (2.5, 2.5)),
]

Loaders = dict[str, Callable[[], Iterator[Any]]]


@dataclass(frozen=True)
class Speed:
    """The speed of one pass of a loader."""

    per_cpu_second: float  # images; counts all threads and the finished child processes
    per_second: float


def measure(batches: Callable[[], Iterator[Any]]) -> Speed:
    """Run one pass over the images."""
    start, before, num_images = time.perf_counter(), _cpu_seconds(), 0
    for batch in batches():
        num_images += len(batch)
    return Speed(num_images / (_cpu_seconds() - before), num_images / (time.perf_counter() - start))


def indexed(pixels: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the images of each row, gathered by numpy: the limit of every reading."""
    return (pixels[row] for row in rows)


def gathered(images: DecodedImages | OffsetImages, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the images of each row, read into the same memory."""
    images_BHWC = np.empty((rows.shape[1], *images.shape), np.uint8)
    for row in rows:
        images.gather(row, images_BHWC)
        yield images_BHWC


def trained(
    manifest: Manifest, recipe: Recipe, reading: str, num_images: int, as_float: bool
) -> Iterator[torch.Tensor]:
    """Yield a training's batches, as sent to the device or as they leave the model's input step."""
    indices = np.arange(num_images)
    images = open_images(manifest, *recipe.size, reading)
    step = InputStep(recipe).train()
    data = TrainingSet(images, indices, manifest.work[indices].astype(np.int64), manifest.role[indices])
    for batch in EpochBatches(data, recipe, seed=0, epoch=1).start():
        yield step(batch.images) if as_float else batch.images


def our_loaders(manifest: Manifest, size: int, rows: np.ndarray) -> Loaders:
    """Return the limit, the readings, and the batches of a training."""
    recipe = override(get_recipe("transreid-vit-base"), {"image_size": size, "pretrained": False})
    decoded = open_images(manifest, size, size, "decoded")  # fills the cache
    assert isinstance(decoded, DecodedImages)
    pixels = decoded[np.arange(rows.size)]
    many_rows = np.tile(rows, (PASSES_OF_A_GATHER, 1))
    loaders: Loaders = {
        GATHER: partial(indexed, pixels, many_rows),
        "decoded, 1 thread": partial(gathered, decoded, many_rows),
    }
    for threads in (1, 2):
        images = open_images(manifest, size, size, "offset", threads=threads)
        assert isinstance(images, OffsetImages)
        loaders[f"offset, {_threads(threads)}"] = partial(gathered, images, rows)
    for reading in ("decoded", "offset", "stream"):
        loaders[f"{reading}, training"] = partial(trained, manifest, recipe, reading, rows.size, False)
    loaders["decoded, training, float"] = partial(trained, manifest, recipe, "decoded", rows.size, True)
    return loaders


def peer_loaders(manifest: Manifest, size: int, rows: np.ndarray, folder: Path) -> Loaders:
    """Return the peers that are installed."""
    images = [read_image(manifest, index) for index in rows.ravel().tolist()]
    encoded = Encoded(images, size, is_resized=one_shape(manifest) != (size, size))
    loaders: Loaders = {}
    for threads in (1, 2):
        if is_installed("spdl"):
            loaders[f"SPDL, {_threads(threads)}"] = partial(peers.spdl_batches, encoded, threads)
        if is_installed("nvidia.dali"):
            loaders[f"DALI, {_threads(threads)}"] = partial(
                peers.dali_batches, peers.dali_pipeline(encoded, threads), len(rows)
            )
    files = [folder / str(number) for number in range(len(images))]
    for file, image in zip(files, images, strict=True):
        file.write_bytes(image)
    loaders[FOLDER] = partial(peers.folder_batches, files, size)
    shards = [manifest.store.place(shard.name) for shard in manifest.shards]
    loaders["webdataset, float"] = partial(peers.webdataset_batches, shards, size, rows.size)
    if is_installed("litdata"):
        peers.write_chunks(images, folder / "chunks")
        loaders["litdata, float"] = partial(peers.litdata_batches, folder / "chunks", size)
    return loaders


def is_installed(module: str) -> bool:
    """Return whether an optional peer can be imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that contains it
        return False


def compare(manifest: Manifest, size: int) -> bool:
    """Run all loaders in turn and print their speeds; return False if a limit is exceeded."""
    num_images = min(NUM_IMAGES[size], manifest.num_images) // BATCH * BATCH
    rows = np.random.default_rng(0).permutation(num_images).reshape(-1, BATCH)
    with tempfile.TemporaryDirectory() as name:
        loaders = our_loaders(manifest, size, rows) | peer_loaders(manifest, size, rows, Path(name))
        rounds = [{name: measure(run) for name, run in loaders.items()} for _ in range(NUM_ROUNDS)]
    print(f"\n{num_images} images at {size} px, {manifest.size.mean() / 1e3:.1f} KB each, {NUM_ROUNDS} rounds")
    print(f"{'':26}{'images/CPU-s':>12}{'images/s':>10}{'x ' + FOLDER:>18}")
    for name in loaders:
        per_cpu_second, per_second = (
            statistics.median(getattr(speeds[name], field) for speeds in rounds)
            for field in ("per_cpu_second", "per_second")
        )
        ratio = statistics.median(_ratios(rounds, name, FOLDER, "per_cpu_second"))
        print(f"{name:26}{per_cpu_second:12,.0f}{per_second:10,.0f}{ratio:18.2f}")
    for loader in ("offset", "SPDL", "DALI"):
        if f"{loader}, 1 thread" in loaders:
            ratios = _ratios(rounds, f"{loader}, 2 threads", f"{loader}, 1 thread", "per_second")
            print(
                f"{loader}: 2 threads give {statistics.median(ratios):.2f} times the images/s of one{_spread(ratios)}"
            )
    return all([_holds(rounds, limit, size) for limit in LIMITS if limit[1] in loaders])


def _holds(rounds: list[dict[str, Speed]], limit: tuple[str, str, tuple[float, float]], size: int) -> bool:
    name, other, least = limit
    ratios = _ratios(rounds, name, other, "per_cpu_second")
    ratio, required = statistics.median(ratios), least[size == 128]
    print(f"{name}: {ratio:.2f} x {other} per CPU-second{_spread(ratios)}, limit {required}")
    return ratio >= required


def _cpu_seconds() -> float:
    """Return user and system seconds of this process and its finished children."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _ratios(rounds: list[dict[str, Speed]], name: str, other: str, field: str) -> list[float]:
    return [getattr(speeds[name], field) / getattr(speeds[other], field) for speeds in rounds]


def _spread(ratios: list[float]) -> str:
    return f" ({min(ratios):.2f} to {max(ratios):.2f})"


def _threads(number: int) -> str:
    return "1 thread" if number == 1 else f"{number} threads"


def main() -> None:
    """Print the speeds, and exit with 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="SHARDS", help="measure these shards instead of drawn pictures")
    parser.add_argument("--size", type=int, choices=NUM_IMAGES, help="only this size in px, instead of both")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for module in ("spdl", "nvidia.dali", "litdata"):
        if not is_installed(module):
            print(f"{module} is not installed, so it is not measured")
    holds = True
    with tempfile.TemporaryDirectory() as name:
        os.environ["SAKUGA_CACHE"] = str(Path(name) / "cache")
        for size in [options.size] if options.size else NUM_IMAGES:
            folder = Path(name) / str(size)
            data = read_manifest(options.data) if options.data else draw_shards(folder, size, NUM_IMAGES[size])
            if data.num_images < BATCH:
                parser.error(f"--data {options.data} has {data.num_images} images: give shards with at least {BATCH}")
            holds &= compare(data, size)
    sys.exit(0 if holds else 1)


if __name__ == "__main__":
    main()
