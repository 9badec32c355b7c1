"""Batches and manifests of millions of images, in seconds and MB, and the batches' time relative to a permutation.

Works differ in size as in DAF:re: many have a few images, some thousands. Times are CPU seconds, the least of three,
except for the manifest: seconds by the clock of opening it once, with its file in the page cache. Run, in about a
minute:

    python benchmarks/large_data.py
    python benchmarks/large_data.py --images 5000000 --ranks 64 --json    # ten minutes

Exits with 1 if a limit is exceeded.
"""

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from shards_tools.batch_samplers import BATCH_SAMPLERS
from shards_tools.batch_samplers.epochs import EpochParams
from shards_tools.batch_samplers.stream import stream_batches
from shards_tools.keys import Keys
from shards_tools.manifest import COLUMN_TYPES, Manifest, Shard, fingerprint
from shards_tools.manifest_file import read_manifest, write_manifest
from shards_tools.stores import open_store

IMAGES_PER_WORK = 150
ROLES_PER_WORK = 8
IMAGES_PER_SHARD = 8_192
IMAGE_BYTES = 9_216
EPOCH = EpochParams(works_per_batch=64, images_per_work=4, seed=0, epoch=0)
LIMITS = {"plan_s": 1.0, "open_s": 1.0, "memory_mb": 100.0}  # of one rank; MB of an open manifest
STREAMED_LIMITS = {"stream_plan_s": 0.5}  # of one rank, for up to this many images:
MOST_STREAMED = 500_000


class Data:
    """Labels, roles and places of images, in the order of their names: the images of a work are neighbors."""

    def __init__(self, num_images: int) -> None:
        generator = np.random.default_rng(0)
        num_works = max(EPOCH.works_per_batch, num_images // IMAGES_PER_WORK)
        shares = generator.pareto(1.5, num_works) + 0.3
        self.labels = np.sort(generator.choice(num_works, num_images, p=shares / shares.sum()))
        self.labels = np.unique(self.labels, return_inverse=True)[1]
        self.roles = np.sort(self.labels * ROLES_PER_WORK + generator.integers(0, ROLES_PER_WORK, num_images))
        self.shard, place = np.divmod(np.arange(num_images), IMAGES_PER_SHARD)
        self.offset = place * IMAGE_BYTES

    def manifest(self, folder: Path) -> Manifest:
        """Return the manifest of these images, without the shards."""
        num_images = len(self.labels)
        works = tuple(f"work {number}" for number in range(self.labels.max() + 1))
        known, role = np.unique(self.roles, return_inverse=True)
        roles = tuple(f"work {number // ROLES_PER_WORK}/{number}" for number in known.tolist())
        values: dict[str, Any] = {
            "shard": self.shard,
            "offset": self.offset,
            "size": IMAGE_BYTES,
            "sha256": b"0" * 64,
            "work": self.labels,
            "role": role,
            "split_code": 0,
            "fold": -1,
            "height": 256,
            "width": 256,
        }
        columns = {name: np.broadcast_to(values[name], num_images).astype(kind) for name, kind in COLUMN_TYPES.items()}
        counts = np.bincount(self.shard).tolist()
        return Manifest(
            store=open_store(folder),
            source="drawn",
            layout="plain",
            works=works,
            roles=roles,
            shards=tuple(Shard(f"{n:06d}.tar", count, count * IMAGE_BYTES, "0" * 64) for n, count in enumerate(counts)),
            keys=Keys(np.strings.add(b"work/", np.arange(num_images).astype("S8"))),
            fingerprint=fingerprint(works, roles, columns),
            **columns,  # type: ignore[arg-type]  # names of arrays
        )


def epoch_s(num_images: int, sampler: str) -> float:
    """Return the seconds of the batches of an epoch."""
    data = Data(num_images)
    return least(lambda: BATCH_SAMPLERS[sampler](data.labels, data.roles, EPOCH))


def permutation_s(num_images: int) -> float:
    """Return the seconds of one permutation, which no random order can do without."""
    return least(lambda: np.random.default_rng(0).permutation(num_images))


def streamed_epoch_s(num_images: int, num_ranks: int) -> float:
    """Return the seconds of one rank's batches of a streamed epoch."""
    data = Data(num_images)
    of_rank = replace(EPOCH, works_per_batch=EPOCH.works_per_batch // num_ranks)

    def draw() -> np.ndarray:
        return stream_batches(
            "full", data.labels, data.roles, of_rank, shard=data.shard, offset=data.offset, world=num_ranks
        )

    return least(draw)


def opening(num_images: int) -> tuple[float, float]:
    """Return the seconds by the clock, and the most MB above those of the process before, of opening a manifest."""
    with tempfile.TemporaryDirectory() as name:
        in_own_process(write, Path(name), num_images)
        seconds_and_mb: tuple[float, float] = in_own_process(_open, Path(name))
        return seconds_and_mb


def write(folder: Path, num_images: int) -> None:
    """Write the manifest, and shards without content."""
    manifest = Data(num_images).manifest(folder)
    write_manifest(manifest, folder)
    for shard in manifest.shards:
        with (folder / shard.name).open("wb") as file:
            file.truncate(shard.num_bytes)


def _open(folder: Path) -> tuple[float, float]:
    before, start = psutil.Process().memory_info().rss, time.perf_counter()
    read_manifest(folder)
    return time.perf_counter() - start, peak_mb() - before / 2**20


def peak_mb() -> float:
    """Return the most memory that this process has had; that of `getrusage` has its parent's too."""
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak
    return int(peak[1]) / 2**10


def least(work: Callable[[], object], times: int = 3) -> float:
    """Return the CPU seconds of the fastest of some runs."""
    seconds = []
    for _ in range(times):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def in_own_process(work: Callable[..., Any], *args: object) -> Any:
    """Return what a function returns in a new process, whose memory nothing else has used."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(work, *args).result()


def measure(num_images: int, num_ranks: int) -> dict[str, float]:
    """Return the numbers of one size."""
    open_s, memory_mb = opening(num_images)
    return {
        "plan_s": in_own_process(epoch_s, num_images, "full"),
        "cross_role_plan_s": in_own_process(epoch_s, num_images, "cross_role"),
        "permutation_s": in_own_process(permutation_s, num_images),
        "stream_plan_s": in_own_process(streamed_epoch_s, num_images, num_ranks),
        "open_s": open_s,
        "memory_mb": memory_mb,
    }


def limits_of(num_images: int) -> dict[str, float]:
    """Return the limits that hold for data of this size."""
    return LIMITS | (STREAMED_LIMITS if num_images <= MOST_STREAMED else {})


def main() -> int:
    """Print the numbers; return 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[500_000], metavar="N")
    parser.add_argument("--ranks", type=int, default=64, metavar="R", help="that share a streamed epoch")
    parser.add_argument("--json", action="store_true", help="print one line of JSON for each N")
    options = parser.parse_args()
    exceeded = False
    for num_images in options.images:
        found, limits = measure(num_images, options.ranks), limits_of(num_images)
        exceeded |= any(found[key] > limit for key, limit in limits.items())
        if options.json:
            print(json.dumps({"images": num_images, "ranks": options.ranks, **found}))
            continue
        print(f"{num_images:,} images, {options.ranks} ranks")
        for key, value in found.items():
            limit = f"   limit {limits[key]:g}" if key in limits else ""
            print(f"  {key:<20}{value:8.2f}{limit}")
        print(f"  {'plan / permutation':<20}{found['plan_s'] / found['permutation_s']:8.2f}")
    return int(exceeded)


if __name__ == "__main__":
    sys.exit(main())
