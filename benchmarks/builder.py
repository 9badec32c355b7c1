"""Benchmark of building shards compared with webdataset's writer, and of the first batch from a folder of images.

The pictures are drawn faces, each cropped, mirrored, brightened and encoded differently, so that all bytes differ.
DAF:re-like: real class counts if $SAKUGA_REAL_DATA has them, 128 px. LSASRD-like: works and roles, 256 px.

Run: python benchmarks/builder.py, or with --full for 463,437 and 20,937 images (10 GB of disk, half an hour). Exits
with 1 if a limit is exceeded.
"""

import argparse
import contextlib
import csv
import hashlib
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import simplejpeg
import webdataset

from shards_tools import build as build_module
from shards_tools.batch_samplers import BATCH_SAMPLERS
from shards_tools.batch_samplers.epochs import EpochParams
from shards_tools.build import BuildOptions, build
from shards_tools.decode import decode
from shards_tools.drawing.character import draw_character, draw_moment
from shards_tools.drawing.face import draw_face
from shards_tools.drawing.style import draw_styles
from shards_tools.images import open_images
from shards_tools.manifest_file import read_manifest
from shards_tools.parallel import num_cpus
from shards_tools.sources import SOURCES
from shards_tools.verify import verify

NUM_FACES = 2_000  # drawn; the pictures are variations of them
MARGIN = 16  # px that a variation may crop
BAD_SHARE = 1_000  # one image in 1,000 is broken, and one is missing
MIN_SKIPPING = 1 / 1.2  # speed of a build that leaves these out, compared with a build without any
MIN_RATIO = 0.9  # images per CPU-second, ours over TarWriter's with the same checks; both mostly decode

SKIPPING = "build that skips bad images"

styles = lru_cache(draw_styles)
Pictures = list[tuple[str, int]]  # path below the root, number of the drawn face


def dafre_pictures(root: Path, num_images: int) -> Pictures:
    """Write the lists of DAF:re's v2 layout and return the pictures that they name: the first classes, complete."""
    rows: dict[str, list[str]] = {"train": [], "val": [], "test": [], "classid_classname": []}
    pictures: Pictures = []
    for label, (name, *counts) in enumerate(read_class_counts()):
        if len(pictures) >= num_images:
            break
        rows["classid_classname"].append(f"{label},{name}")
        for split, count in zip(("train", "val", "test"), counts, strict=True):
            for _ in range(count):
                number = len(pictures) + 1
                place = f"{number % 1000:04d}/{number}.jpg"
                rows[split].append(f"{label},{place}")
                pictures.append((f"faces/{place}", label * 7 + number % 7))
    (root / "labels").mkdir(parents=True)
    for name, lines in rows.items():
        (root / "labels" / f"{name}.csv").write_text("".join(f"{line}\n" for line in lines))
    return pictures


def read_class_counts() -> Iterator[tuple[str, int, int, int]]:
    """Yield name and number of train, val and test images of DAF:re's classes, or of a similar long tail."""
    file = Path(os.environ.get("SAKUGA_REAL_DATA", "nowhere"), "dafre_class_counts.csv")
    if file.is_file():
        with open(file, newline="") as text:
            for row in csv.DictReader(text):
                counts = (int(row[column]) for column in ("train_reconstructed", "val_exact", "test_exact"))
                yield row["class_name"], *counts  # type: ignore[misc]  # three of them
        return
    for label, size in enumerate((20 * (1 + np.random.default_rng(0).pareto(0.8, 3263))).clip(max=9695).astype(int)):
        yield f"class_{label}", int(size * 0.7), int(size * 0.8) - int(size * 0.7), size - int(size * 0.8)


def lsasrd_pictures(root: Path, num_images: int) -> Pictures:
    """Return the pictures of LSASRD's plain layout: 190 works of 9 or 10 roles at full size, the last 76 for test."""
    generator = np.random.default_rng(0)
    num_roles = max(40, 1829 * num_images // 20937)
    num_works = max(4, 190 * num_images // 20937)
    share = generator.lognormal(0, 0.6, num_roles)
    counts = 1 + generator.multinomial(num_images - num_roles, share / share.sum())
    pictures: Pictures = []
    for role, count in enumerate(counts.tolist()):
        work = role * num_works // num_roles
        number = role - -(-work * num_roles // num_works)
        part = "train" if work < num_works * 3 // 5 else "query" if number < 4 else "test"
        name, folder = f"JP{work + 1:04d}", f"{number + 1:04d}"
        for image in range(count):
            place = f"ASRD/{part}/{name}/{folder}/{name}_{folder}_{image:03d}.jpg"
            pictures.append((place, role * 7 + image % 7))
    return pictures


SETS: dict[str, tuple[Callable[[Path, int], Pictures], int, int]] = {  # name -> pictures, px, images at full size
    "dafre": (dafre_pictures, 128, 463_437),
    "lsasrd": (lsasrd_pictures, 256, 20_937),
}


def make_pictures(root: Path, pictures: Pictures, size: int) -> None:
    """Draw the faces, then write every picture."""
    faces = root.parent / f"faces-{size}.npy"
    with ProcessPoolExecutor(num_cpus(), mp_context=get_context("spawn")) as pool:
        if not faces.exists():
            drawn = pool.map(draw_one, range(NUM_FACES), [size + MARGIN] * NUM_FACES, chunksize=50)
            np.save(faces, np.stack(list(drawn)))
        starts = range(0, len(pictures), 2_000)
        parts = [pictures[first : first + 2_000] for first in starts]
        for _ in pool.map(write_pictures, [root] * len(parts), [faces] * len(parts), parts, starts):
            pass


def draw_one(number: int, size: int) -> np.ndarray:
    """Draw a face; seven consecutive ones are one character."""
    generator = np.random.default_rng([number // 7])
    character, style = draw_character(generator), styles(60, 0)[number // 7 % 60]
    generator = np.random.default_rng(number)
    return np.asarray(draw_face(style, character, draw_moment(generator), generator, size))


def write_pictures(root: Path, faces_file: Path, pictures: Pictures, first: int) -> None:
    """Write pictures from number `first` on, each varied by its number."""
    faces = np.load(faces_file, mmap_mode="r")
    size = faces.shape[1] - MARGIN
    for number, (place, face) in enumerate(pictures, first):
        generator = np.random.default_rng(number)
        top, left = generator.integers(MARGIN + 1, size=2)
        pixels = faces[face % len(faces), top : top + size, left : left + size, :: generator.choice((-1, 1))]
        gain = generator.uniform(0.75, 1.2, 3)[:, None] * np.arange(256)
        varied = np.stack([gain[c].clip(0, 255).astype(np.uint8)[pixels[..., c]] for c in range(3)], axis=-1)
        file = root / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(simplejpeg.encode_jpeg(varied, quality=90, colorsubsampling="420"))


def spoil(root: Path, pictures: Pictures, spoiled: Path) -> None:
    """Copy a set with hard links, without some of the pictures and with only a part of others."""
    shutil.copytree(root, spoiled, copy_function=os.link)
    for number, (place, _) in enumerate(pictures):
        file = spoiled / place
        if number % BAD_SHARE == 1:
            file.unlink()
        elif number % BAD_SHARE == 2:
            data = file.read_bytes()
            file.unlink()
            file.write_bytes(data[: len(data) // 2])


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
