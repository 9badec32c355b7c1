"""A scanned source: each image with its path, labels and split."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SourceImage:
    """One image file with the labels and the split that the source gives it."""

    path: Path
    key: str  # unique in its source; also its name in the shards, so ASCII without dots
    work: str  # or class, or identity
    role: str  # "WORK/ROLE"; for data without roles: the work
    split_code: int  # from splits.py, before the build splits val or test off from train
    fold: int = -1  # 0..4 in a five-fold layout
    # The crop to keep: left, top, right, bottom in px; may extend beyond the image.
    box: tuple[int, int, int, int] | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """A scanned source. The images of one role and split are adjacent."""

    name: str
    layout: str  # a key of NUM_FOLDS in manifest.py
    works: tuple[str, ...]  # works with at least one image; index = work id
    images: tuple[SourceImage, ...]
    left_out: tuple[Path, ...] = ()  # entries next to the tree that are not part of it
    notes: tuple[str, ...] = ()  # changes to the source that affect how results are read
    pairs: tuple[tuple[int, int], ...] = ()  # official test pairs: indices into `images`
    cut: tuple[int, ...] = ()  # splits (VAL, or VAL and TEST) that the build takes from each class's train images
