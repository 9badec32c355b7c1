"""Pictures in the layouts of DAF:re and LSASRD, drawn for the benchmark of the builder, and copies with bad ones."""

import csv
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import simplejpeg

from shards_tools.drawing.character import draw_character, draw_moment
from shards_tools.drawing.face import draw_face
from shards_tools.drawing.style import draw_styles
from shards_tools.parallel import num_cpus

NUM_FACES = 2_000  # drawn; the pictures are variations of them
MARGIN = 16  # px that a variation may crop
BAD_SHARE = 1_000  # one image in 1,000 is broken, and one is missing

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
