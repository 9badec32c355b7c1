"""Find files with equal bytes: copies within a role, images with two labels, and images on two sides of the split."""

import os
from collections.abc import Iterator, Sequence

import numpy as np

from shards_tools.manifest import Duplicates
from shards_tools.problems import Problem
from shards_tools.sources.source import SourceImage, problem_of
from shards_tools.splits import TEST, TEST_GALLERY, TEST_QUERY, TRAIN, VAL

SPLITS = ("train", "val", "test")
MAX_NAMED = 5  # pairs whose names are kept
SIDES = {
    TRAIN: "train",
    VAL: "val",
    TEST: "test",
    TEST_QUERY: "test",
    TEST_GALLERY: "test",
}  # of the splits of a source


def find_duplicates(images: Sequence[SourceImage], sha256: np.ndarray) -> Duplicates:
    """Return the duplicates among the images.

    The sides are the folds of a five-fold layout; otherwise they are train, val and test, where test includes query and
    gallery. They are the source's own splits: images that the build later takes from train for val or test count as
    train. Copies within a role and a side are only counted: if the build takes val or test from the images of a class,
    the source's notes say that copies may be on both sides.

    Args:
        sha256: the checksum of each image, in the same order.
    """
    num_copies, two_labels, two_sides, pairs = 0, 0, 0, []
    for group in _groups_of_equals(sha256):
        equal = [images[index] for index in group]
        num_copies += len(equal) - 1
        other_label = next((image for image in equal if image.role != equal[0].role), None)
        other_side = next((image for image in equal if _side(image) != _side(equal[0])), None)
        two_labels += other_label is not None
        two_sides += other_side is not None
        if other := other_side or other_label:
            pairs.append((equal[0].key, other.key))
    return Duplicates(num_copies, two_labels, two_sides, tuple(pairs[:MAX_NAMED]))


def find_leaks(
    images: Sequence[SourceImage], sha256: np.ndarray, drop_from: str | None = None
) -> tuple[dict[int, Problem], dict[int, Problem]]:
    """Find images on two sides, which would leak training images into the evaluation.

    One side keeps its copies: not that of `drop_from`, then test before val before train, a lower fold before a higher.

    Args:
        images: of the source.
        sha256: the checksum of each image, in the same order.
        drop_from: one of SPLITS, or None.

    Returns:
        The copies on the other sides by index: first those in `drop_from`, then the rest.
    """
    dropped: dict[int, Problem] = {}
    others: dict[int, Problem] = {}
    for group in _groups_of_equals(sha256):
        sides = {_side(images[index]) for index in group}
        kept_side = max(sides, key=lambda side: (side[1] != drop_from, -side[0], SPLITS.index(side[1])))
        kept = next(images[index] for index in group if _side(images[index]) == kept_side)
        where = kept_side[1] if kept.fold < 0 else f"fold {kept.fold}"
        for index in group:
            fold, split = _side(images[index])
            if (fold, split) != kept_side:
                reason = f"is the same image as {os.path.abspath(kept.path)} in {where}"
                (dropped if split == drop_from else others)[index] = problem_of(images[index], "duplicate", reason)
    return dropped, others


def describe_duplicates(duplicates: Duplicates) -> Iterator[str]:
    """Yield the lines that report images with two labels or on two sides; none if there are none."""
    if duplicates.num_under_two_labels:
        yield f"images with two labels: {duplicates.num_under_two_labels:,}"
    if duplicates.num_on_two_sides:
        yield f"images on two sides (two folds, or two of train, val and test): {duplicates.num_on_two_sides:,}"
    for first, second in duplicates.pairs:
        yield f"  {first} = {second}"


def _groups_of_equals(sha256: np.ndarray) -> list[list[int]]:
    """Return the ascending indices of each checksum that occurs more than once, ordered by their first index."""
    order = np.argsort(sha256, kind="stable")
    changes = np.flatnonzero(sha256[order][1:] != sha256[order][:-1]) + 1
    starts, ends = np.append(0, changes), np.append(changes, len(order))
    repeated = ends - starts > 1
    return sorted(order[start:end].tolist() for start, end in zip(starts[repeated], ends[repeated], strict=True))


def _side(image: SourceImage) -> tuple[int, str]:
    return image.fold, SIDES[image.split_code]
