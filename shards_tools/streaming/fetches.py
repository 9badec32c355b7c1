"""Which bytes a plan reads, when, and how long each image is kept."""

from dataclasses import dataclass

import numpy as np

from shards_tools.manifest import Manifest
from shards_tools.reader import SPAN_BYTES

GAP_BYTES = 256 * 2**10  # less than this between two images is read along: a request of its own would take longer
HORIZON_IMAGES = 4 * 4_096  # four times the pool of a stream plan: what is needed later than this is read again


@dataclass(frozen=True)
class Fetch:
    """One read: images of one shard that lie close together and are needed at about the same time."""

    images: np.ndarray  # indices into the manifest, in the order of their offsets
    first: int  # number of the first batch that needs one of them
    last: np.ndarray  # for each image, number of the last batch for which it is kept


def fetches_of_plan(manifest: Manifest, plan: np.ndarray) -> list[Fetch]:
    """All reads that the plan [num_batches, B] of indices into the manifest needs, in the order of first need.

    An image is kept from its read to its last use. Where more than HORIZON_IMAGES images of the plan lie between two
    uses, or between its first use and that of others in the same read, it has one more read. So memory is bounded
    whatever the plan; one that was not drawn for a stream only reads more.
    """
    if plan.size == 0:
        return []
    horizon = max(1, HORIZON_IMAGES // plan.shape[1])  # batches
    image, first, last = _visits(plan, horizon)
    shard, start = manifest.shard[image], manifest.offset[image]
    read = _reads(shard, start // SPAN_BYTES, first, horizon)
    order = np.lexsort((start, read))
    end = start + manifest.size[image]
    is_cut = (np.diff(read[order]) != 0) | (start[order][1:] - end[order][:-1] > GAP_BYTES)
    visits = np.split(order, np.flatnonzero(is_cut) + 1)
    fetches = [Fetch(image[members], int(first[members].min()), last[members]) for members in visits]
    return sorted(fetches, key=lambda fetch: fetch.first)


def _visits(plan: np.ndarray, horizon: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, first and last batch of each stay of an image in memory: uses at most `horizon` batches apart."""
    image, batch = plan.ravel(), np.repeat(np.arange(len(plan)), plan.shape[1])
    order = np.argsort(image, kind="stable")
    image, batch = image[order], batch[order]
    is_first = np.r_[True, (np.diff(image) != 0) | (np.diff(batch) > horizon)]
    is_last = np.r_[is_first[1:], True]
    return image[is_first], batch[is_first], batch[is_last]


def _reads(shard: np.ndarray, cell: np.ndarray, first: np.ndarray, horizon: int) -> np.ndarray:
    """For each visit the number of its read: the visits of one cell of a shard that begin within `horizon` batches."""
    order = np.lexsort((first, cell, shard))
    is_new = np.r_[True, (np.diff(shard[order]) != 0) | (np.diff(cell[order]) != 0)]
    begins, numbers, number, begin = first[order].tolist(), [], -1, 0
    for new, batch in zip(is_new.tolist(), begins, strict=True):
        if new or batch - begin > horizon:
            number, begin = number + 1, batch
        numbers.append(number)
    read = np.empty(len(order), np.int64)
    read[order] = numbers
    return read
