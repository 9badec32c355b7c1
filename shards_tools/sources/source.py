"""A scanned source: each image with its path, labels and split; and the registry of the functions that scan.

To add a source, write one file in this package with a function `scan` and add its name to NAMES.
"""

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shards_tools.problems import Problem
from shards_tools.registry import Registry


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
    missing: tuple[Problem, ...] = ()  # images that a list names and that are not there


def problem_of(image: SourceImage, kind: str, reason: str) -> Problem:
    """Return the problem of an image; `kind` is one of KINDS in problems.py."""
    return Problem(Path(os.path.abspath(image.path)), kind, reason)


Scan = Callable[[Path], Source]


def _scan_of(module: str) -> Scan:
    """Return the function `scan` of a module here, which is imported when it is called."""

    def scan(folder: Path) -> Source:
        source: Source = importlib.import_module(f"shards_tools.sources.{module}").scan(folder)
        return source

    return scan


NAMES = (
    "lsasrd",
    "dafre",
    "dafull",
    "daf",
    "moeimouto",
    "icartoonface",
    "market1501",
    "veri776",
    "list",
    "folder",
)
SOURCES: Registry[Scan] = Registry("source", {name: _scan_of(name) for name in NAMES})


def register_source(name: str, scan: Scan) -> None:
    """Make a layout of your own available as `python -m shards_tools build NAME SOURCE`.

    Args:
        scan: takes the folder SOURCE and returns a `Source`: every image with its labels and its split.

    Raises:
        Error: the name is taken by a different function, or is not a valid name.
    """
    SOURCES.register(name, scan)
