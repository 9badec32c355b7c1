"""What a source of images is: each image with its place, its labels and its part of the data."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SourceImage:
    """One image file and what its place in the source says about it."""

    path: Path
    key: str  # unique in its source; its name in the shards, so ASCII without dots
    work: str  # or class, or identity
    role: str  # "WORK/ROLE", or the work again in data without roles
    split_code: int  # of splits.py; what is cut from train is still in train here
    fold: int = -1  # 0..4 in a five-fold layout
    # Left, top, right, bottom in px: what is kept of the image; may reach over its edges.
    box: tuple[int, int, int, int] | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """A scanned source. One role's images of one split stand side by side."""

    name: str
    layout: str  # a key of NUM_FOLDS in manifest.py
    works: tuple[str, ...]  # every work that an image has; index = work id
    images: tuple[SourceImage, ...]
    left_out: tuple[Path, ...] = ()  # what stands beside the tree and is no part of it
    notes: tuple[str, ...] = ()  # what was done to the source that a reader of results should know
    pairs: tuple[tuple[int, int], ...] = ()  # official test pairs: places in `images`
    cut: tuple[int, ...] = ()  # of VAL and TEST, what the build cuts from each class's train images
