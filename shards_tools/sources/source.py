"""What a source of images is: each image with its place, its labels and its part of the data."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SourceImage:
    """One image file and what its place in the tree says about it."""

    path: Path
    key: str  # unique in its source; its name in the shards, so ASCII without dots
    work: str
    role: str  # "WORK/ROLE"
    split_code: int  # TRAIN, TEST_QUERY or TEST_GALLERY of splits.py; val is cut later
    fold: int  # 0..4, or -1 in a plain layout


@dataclass(frozen=True)
class Source:
    """A scanned tree. Images are in the order of their names; one role's images of one split stand side by side."""

    name: str
    layout: str  # "plain" or "five-fold"
    images: tuple[SourceImage, ...]
    left_out: tuple[Path, ...]  # what stands beside the tree and is no part of it
