"""Benchmark of building shards compared with webdataset's writer, and of the first batch from a folder of images.

The pictures are drawn faces, each cropped, mirrored, brightened and encoded differently, so that all bytes differ.
DAF:re-like: real class counts if $SAKUGA_REAL_DATA has them, 128 px. LSASRD-like: works and roles, 256 px.

Run: python benchmarks/builder.py, or with --full for 463,437 and 20,937 images (10 GB of disk, half an hour). Exits
with 1 if a limit is exceeded.
"""

import argparse
import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import webdataset

from benchmarks.building.pictures import Pictures, dafre_pictures, lsasrd_pictures, make_pictures, spoil
from shards_tools import build as build_module
from shards_tools.batch_samplers import BATCH_SAMPLERS
from shards_tools.batch_samplers.epochs import EpochParams
from shards_tools.build import BuildOptions, build
from shards_tools.decode import decode
from shards_tools.images import open_images
from shards_tools.manifest_file import read_manifest
from shards_tools.parallel import num_cpus
from shards_tools.sources import SOURCES
from shards_tools.verify import verify

MIN_SKIPPING = 1 / 1.2  # speed of a build that leaves these out, compared with a build without any
MIN_RATIO = 0.9  # images per CPU-second, ours over TarWriter's with the same checks; both mostly decode

SKIPPING = "build that skips bad images"


SETS: dict[str, tuple[Callable[[Path, int], Pictures], int, int]] = {  # name -> pictures, px, images at full size
    "dafre": (dafre_pictures, 128, 463_437),
    "lsasrd": (lsasrd_pictures, 256, 20_937),
}


def build_ours(source: str, root: Path, out: Path, processes: int, on_error: str = "stop") -> None:
    """Scan and build with Sakuga."""
    build_module.num_cpus = lambda: processes  # type: ignore[attr-defined]  # imported there
    build(SOURCES[source](root), out, BuildOptions(on_error=on_error, allow_duplicates=True))


def build_webdataset(source: str, root: Path, out: Path, checked: bool) -> None:
    """Scan, and write the same samples with webdataset.TarWriter; `checked`: decode and hash them as ours does."""
    found = SOURCES[source](root)
    works = {work: number for number, work in enumerate(found.works)}
    out.mkdir()
    for shard, first in enumerate(range(0, len(found.images), 4096)):
        with webdataset.TarWriter(str(out / f"{shard:05d}.tar"), encoder=False) as writer:
            for image in found.images[first : first + 4096]:
                data = image.path.read_bytes()
                if checked:
                    decode(data, str(image.path))
                    hashlib.sha256(data).hexdigest()
                writer.write({"__key__": image.key, "jpg": data, "cls": str(works[image.work]).encode()})


def first_batch(shards: Path, size: int, reading: str, cache: Path) -> None:
    """Do everything before a training's first step: manifest, batch sampler, pixels."""
    os.environ["SAKUGA_CACHE"] = str(cache)
    manifest = read_manifest(shards)
    train = manifest.split().train
    works = min(16, len(np.unique(manifest.work[train])))
    draw = EpochParams(works_per_batch=works, images_per_work=4, seed=0, epoch=0)
    batches = BATCH_SAMPLERS["full"](manifest.work[train], None, draw)
    images = open_images(manifest, size, size, reading)
    assert len(next(iter(images.batches(train[batches[:1]])))) == 4 * works


def measured(run: Callable[..., Any], *arguments: Any) -> dict[str, float]:
    """Return wall seconds, CPU seconds and memory of a call in its own process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measure, run, arguments).result()


def _measure(run: Callable[..., Any], arguments: Sequence[Any]) -> dict[str, float]:
    # Not ru_maxrss: it starts at the memory of the parent process.
    peaks: dict[int, int] = {}
    done = threading.Event()
    watch = threading.Thread(target=_watch, args=(peaks, done))
    watch.start()
    before, start = sum(psutil.Process().cpu_times()[:4]), time.perf_counter()
    run(*arguments)
    wall = time.perf_counter() - start
    done.set()
    watch.join()
    parent = peaks.pop(os.getpid())
    return {
        "wall": wall,
        "cpu": sum(psutil.Process().cpu_times()[:4]) - before,
        "parent": parent,
        "worker": max(peaks.values(), default=0),
    }


def _watch(peaks: dict[int, int], done: threading.Event) -> None:
    """Record the peak resident memory, in bytes, of this process and its children."""
    while True:
        last = done.wait(0.1)
        for pid in (os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))):
            with contextlib.suppress(OSError, StopIteration):  # it exited, or is exiting
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                peaks[pid] = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
        if last:
            return


def say(name: str, found: dict[str, float], num_images: int) -> None:
    """Print one line."""
    memory = f"{found['parent'] / 2**20:,.0f} MiB" + (f" + {found['worker'] / 2**20:,.0f}" if found["worker"] else "")
    speed = f"{num_images / found['wall']:8,.0f} images/s {num_images / found['cpu']:8,.0f} per CPU-s"
    print(f"  {name:34} {found['wall']:7.1f} s {speed}   {memory}", flush=True)


def compare(name: str, room: Path, num_images: int, num_rounds: int) -> bool:
    """Make one set, build it in turns and read its first batch; return whether ours is within its limit."""
    pictures_of, size, full = SETS[name]
    root = room / f"{name}_pictures"
    start = time.perf_counter()
    pictures = pictures_of(root, num_images)
    make_pictures(root, pictures, size)
    total, cpus = len(pictures), num_cpus()
    print(f"{name}-like, {total:,} of {full:,} images at {size} px, made in {time.perf_counter() - start:.0f} s")
    shards, other = room / f"{name}_shards", room / "other"
    runs: dict[str, tuple[Callable[..., Any], tuple[Any, ...], Path]] = {
        f"build, {cpus} processes": (build_ours, (name, root, shards, cpus), shards),
        "build, 1 process": (build_ours, (name, root, other, 1), other),
        "TarWriter": (build_webdataset, (name, root, other, False), other),
        "TarWriter, decoded and hashed": (build_webdataset, (name, root, other, True), other),
    }
    if name == "dafre":
        spoil(root, pictures, room / "spoiled")
        runs[SKIPPING] = (build_ours, (name, room / "spoiled", other, cpus, "skip"), other)
    rounds: list[dict[str, dict[str, float]]] = [{} for _ in range(num_rounds)]
    for found in rounds:
        for label, (run, arguments, out) in runs.items():
            shutil.rmtree(out, ignore_errors=True)
            found[label] = measured(run, *arguments)
    shutil.rmtree(other)
    shutil.rmtree(room / "spoiled", ignore_errors=True)
    for label in runs:
        say(label, min((found[label] for found in rounds), key=lambda taken: taken["wall"]), total)
    _follow(shards, size, total, room)
    return _say_ratios(rounds, f"build, {cpus} processes")


def _follow(shards: Path, size: int, total: int, room: Path) -> None:
    """Go from the shards to the first batch."""
    for level in ("full", "deep"):
        say(f"verify --level {level}", measured(verify, shards, level), total)
    for reading in ("offset", "decoded"):
        cache = room / f"cache_{reading}"
        found = measured(first_batch, shards, size, reading, cache)
        shutil.rmtree(cache, ignore_errors=True)
        print(f"  first batch, {reading + ', cold':20} {found['wall']:7.1f} s   {found['parent'] / 2**20:,.0f} MiB")
    manifest = read_manifest(shards)
    counts = ", ".join(f"{name} {len(found):,}" for name, found in vars(manifest.split()).items() if len(found))
    sizes = [shard.num_bytes / 2**20 for shard in manifest.shards]
    print(f"  {len(sizes)} shards of {min(sizes):.1f} to {max(sizes):.1f} MiB; {len(manifest.works):,} works; {counts}")
    print(f"  missing: {total - manifest.num_images}; with the bytes of another: {manifest.duplicates.num_copies}")


def _say_ratios(rounds: Sequence[dict[str, dict[str, float]]], many: str) -> bool:
    kept, one, same = True, "build, 1 process", "TarWriter, decoded and hashed"
    rows = [(one, "TarWriter", "cpu", 0.0), (one, same, "cpu", MIN_RATIO), (many, one, "wall", 0.0)]
    if SKIPPING in rounds[0]:
        rows += [(SKIPPING, many, "wall", 0.0), (SKIPPING, many, "cpu", MIN_SKIPPING)]
    for ours, theirs, measure, limit in rows:
        ratios = [found[theirs][measure] / found[ours][measure] for found in rounds]
        median = float(np.median(ratios))
        kept &= median >= limit
        said = f"{median:5.2f} x {theirs} per {measure} second ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"  {ours:27} {said}" + (f", at least {limit:.2g}" if limit else ""))
    return kept


def main() -> None:
    """Print the table of each set, and exit with 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000, help="of the DAF:re-like set; LSASRD-like: a tenth")
    parser.add_argument("--full", action="store_true", help="both sets at their full size, one round")
    parser.add_argument("--keep", metavar="DIR", type=Path, help="work in this folder and keep the shards there")
    chosen = parser.parse_args()
    kept = True
    with contextlib.ExitStack() as stack:
        room = chosen.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sakuga-builder-")))
        for name, (_, _, full) in SETS.items():
            num_images = full if chosen.full else chosen.images // (1 if name == "dafre" else 10)
            kept &= compare(name, room, num_images, 1 if chosen.full else 3)
            shutil.rmtree(room / f"{name}_pictures")
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
