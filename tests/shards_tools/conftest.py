"""Fixtures: small trees of images, and shards built from them."""

import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shards_tools.build import build
from shards_tools.manifest import Manifest
from shards_tools.sources.lsasrd import scan

PlantTree = Callable[..., Path]


def picture(seed: int, kind: str = "PNG", size: tuple[int, int] = (12, 10)) -> bytes:
    """Return an encoded picture of noise, `size` = (width, height) px; equal arguments give equal bytes."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def plant_tree(root: Path, parts: Mapping[str, Mapping[str, Iterable[int]]], num_images: int = 3) -> Path:
    """Write `part -> work -> roles` as an LSASRD tree under root/ASRD, or under root/ASRDf if the parts are digits."""
    tree = root / ("ASRDf" if all(part.isdecimal() for part in parts) else "ASRD")
    seed = 0
    for part, works in parts.items():
        for work, roles in works.items():
            for role in roles:
                folder = tree / part / work / f"{role:04d}"
                folder.mkdir(parents=True)
                for number in range(num_images):
                    seed += 1
                    kind = "JPEG" if seed % 2 else "PNG"
                    suffix = "jpg" if seed % 2 else "png"
                    (folder / f"{work}_{role:04d}_{number:02d}.{suffix}").write_bytes(picture(seed, kind))
    return root


@pytest.fixture
def plant(tmp_path: Path) -> PlantTree:
    """`plant(parts, num_images=3)` writes a tree into a folder below tmp_path and returns that folder."""
    return lambda parts, num_images=3: plant_tree(tmp_path / "source", parts, num_images)


@pytest.fixture
def make_picture() -> Callable[..., bytes]:
    """`make_picture(seed, kind, size)` returns an encoded picture of noise."""
    return picture


PLAIN = {
    "train": {"JP0001": range(1, 6), "CN0002": range(1, 7)},
    "query": {"US0003": (2, 5)},
    "test": {"US0003": (1, 3, 4)},
}
FIVE_FOLD = {str(fold): {f"JP000{fold}": range(1, 6), f"KR000{fold}": (7, 12)} for fold in range(5)}


@pytest.fixture
def plain_tree(plant: PlantTree) -> Path:
    """Two works in train, and one with test roles in query and gallery."""
    return plant(PLAIN)


@pytest.fixture
def five_fold_tree(tmp_path: Path) -> Path:
    """Two works in each of five folds, one with five roles and one with two."""
    return plant_tree(tmp_path / "five", FIVE_FOLD)


@pytest.fixture
def plain(plain_tree: Path, tmp_path: Path) -> Manifest:
    """Shards of the plain tree, 48 images in one shard."""
    return build(scan(plain_tree), tmp_path / "shards")


@pytest.fixture
def five_fold(five_fold_tree: Path, tmp_path: Path) -> Manifest:
    """Shards of the five-fold tree."""
    return build(scan(five_fold_tree), tmp_path / "five-fold-shards")


@pytest.fixture
def open_webdataset(monkeypatch: pytest.MonkeyPatch) -> None:
    """A webdataset that opens files, which it no longer does in a process that has streamed shards."""
    utils = pytest.importorskip("webdataset.utils")
    monkeypatch.setattr(utils, "enforce_security", False)
