"""Leave images out of a source: its labels, works and pairs become those of a source that never had them."""

import os
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from shards_tools.errors import Error
from shards_tools.problems import KINDS, Problem, counted
from shards_tools.sources.source import Source, problem_of
from shards_tools.splits import SPLIT_NAMES, TRAIN


@dataclass(frozen=True)
class Selection:
    """The images of a source that stay, and why others do not."""

    source: Source
    kept: np.ndarray  # int64, ascending: their indices in the whole source
    problems: tuple[Problem, ...]


def select(source: Source, left_out: Mapping[int, Problem]) -> Selection:
    """Return the source without some images, and without classes that have lost all their images in train.

    Args:
        source: as scanned.
        left_out: the problem of each image to leave out, by its index.

    Raises:
        Error: a split loses all its images.
    """
    if not left_out and not source.missing:
        return Selection(source, np.arange(len(source.images)), ())
    left_out = {**left_out, **_untrained(source, left_out)}
    problems = (*source.missing, *(left_out[index] for index in sorted(left_out)))
    kept = np.array([index for index in range(len(source.images)) if index not in left_out], np.int64)
    images = tuple(source.images[index] for index in kept.tolist())
    for code in sorted({image.split_code for image in source.images} - {image.split_code for image in images}):
        what = "the source is left to train on" if code == TRAIN else f"{SPLIT_NAMES[code]} is left"
        raise Error(
            f"No image of {what}: it has {counted(problems)}. {problems[0].path} {problems[0].reason}. Correct the"
            " source."
        )
    used = {image.work for image in images}
    place = {index: number for number, index in enumerate(kept.tolist())}
    pairs = tuple((place[one], place[other]) for one, other in source.pairs if one in place and other in place)
    works = tuple(work for work in source.works if work in used)
    return Selection(replace(source, images=images, works=works, pairs=pairs), kept, problems)


def notes_on(problems: Sequence[Problem]) -> list[str]:
    """Return a note on each kind of images that were left out, with their number."""
    of_kind = {kind: [problem for problem in problems if problem.kind == kind] for kind in KINDS}
    return [f"left out: {counted(found)}" for found in of_kind.values() if found]


def unreadable(source: Source) -> tuple[dict[int, Problem], np.ndarray, np.ndarray]:
    """Look at every file of the source.

    Returns:
        The problem of each image whose file is not there, by index; the size of every file in bytes, and the time of
        its last change in ns.
    """
    problems: dict[int, Problem] = {}
    sizes, times = np.zeros((2, len(source.images)), dtype=np.int64)
    for index, image in enumerate(source.images):
        try:
            found = os.stat(image.path)
        except OSError as failure:
            problems[index] = problem_of(image, "missing", f"is missing: {failure.strerror}")
            continue
        sizes[index], times[index] = found.st_size, found.st_mtime_ns
    return problems, sizes, times


def _untrained(source: Source, left_out: Container[int]) -> dict[int, Problem]:
    """Return the other images of classes whose train images are all left out."""
    if source.layout != "classes":
        return {}
    if all(image.split_code != TRAIN for image in source.images):  # only for evaluation
        return {}
    stay = [(index, image) for index, image in enumerate(source.images) if index not in left_out]
    trained = {image.work for _, image in stay if image.split_code == TRAIN}
    reason = "is in a class that has no image left in train"
    return {index: problem_of(image, "untrained", reason) for index, image in stay if image.work not in trained}
