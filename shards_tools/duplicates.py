"""Files with equal bytes: copies of one role, images under two labels, and images on two sides of an evaluation."""

from collections.abc import Iterator, Sequence

import numpy as np

from shards_tools.errors import Error
from shards_tools.manifest import Duplicates
from shards_tools.sources.source import SourceImage
from shards_tools.splits import TEST, TEST_GALLERY, TEST_QUERY, TRAIN, VAL

MAX_NAMED = 5  # pairs that are kept by name
SIDES = {TRAIN: "train", VAL: "val", TEST: "test", TEST_QUERY: "test", TEST_GALLERY: "test"}  # of what a source tells


def find_duplicates(images: Sequence[SourceImage], sha256: np.ndarray, *, allow: bool) -> Duplicates:
    """The duplicates among the images, whose checksums stand in the same order.

    The sides are those that the source tells: the folds of a five-fold layout, else train, val and test, where query
    and gallery are test together. An image on two sides would be trained on and asked for: an Error, unless it is
    `allow`ed. What the build cuts from train is train here, as the source does not tell it. Within a side two labels
    for an image are counted and kept; a cut by role, work or identity keeps these whole, so there a copy in train and
    val has two labels. Copies within a role and a side are only counted: where val or test is cut from the images of a
    class, the source's notes say that copies may part.
    """
    num_copies, two_labels, two_sides, pairs = 0, 0, 0, []
    for group in _groups_of_equals(sha256):
        equal = [images[index] for index in group]
        num_copies += len(equal) - 1
        other_label = next((image for image in equal if image.role != equal[0].role), None)
        other_side = next((image for image in equal if _side(image) != _side(equal[0])), None)
        if other_side and not allow:
            raise _leak(equal[0], other_side)
        two_labels += other_label is not None
        two_sides += other_side is not None
        if other := other_side or other_label:
            pairs.append((equal[0].key, other.key))
    return Duplicates(num_copies, two_labels, two_sides, tuple(pairs[:MAX_NAMED]))


def describe_duplicates(duplicates: Duplicates) -> Iterator[str]:
    """What to say about them, line by line; nothing where no image has two labels or two sides."""
    if duplicates.num_under_two_labels:
        yield f"the same image under two labels: {duplicates.num_under_two_labels:,} images"
    if duplicates.num_on_two_sides:
        yield f"the same image on two sides (folds, or train, val and test): {duplicates.num_on_two_sides:,} images"
    for first, second in duplicates.pairs:
        yield f"  {first} = {second}"


def _groups_of_equals(sha256: np.ndarray) -> list[list[int]]:
    """The indices of each checksum that occurs twice or more, ascending, in the order of their first ones."""
    order = np.argsort(sha256, kind="stable")
    runs = np.split(order, np.flatnonzero(sha256[order][1:] != sha256[order][:-1]) + 1)
    return sorted(run.tolist() for run in runs if len(run) > 1)


def _side(image: SourceImage) -> tuple[int, str]:
    return image.fold, SIDES[image.split_code]


def _leak(first: SourceImage, second: SourceImage) -> Error:
    between = "folds" if first.fold != second.fold else f"{SIDES[first.split_code]} and {SIDES[second.split_code]}"
    return Error(
        f"{first.path} and {second.path} are the same image on two sides, {between}: what is trained on would be asked"
        " for. Remove one of them, or build with --allow-duplicates."
    )
