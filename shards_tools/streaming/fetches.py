"""Compute which bytes the batches of an epoch need, when, and how long each image is kept."""

from dataclasses import dataclass

import numpy as np

from shards_tools.manifest import Manifest
from shards_tools.reader import SPAN_BYTES

GAP_BYTES = 256 * 2**10  # a smaller gap between two images is read too: a separate request would take longer
HORIZON_IMAGES = 4 * 4_096  # four times the pool of a streamed epoch; an image needed later than this is read again


@dataclass(frozen=True)
class Fetch:
    """One read: images of one shard that are close together and needed at about the same time."""

    images: np.ndarray  # indices into the manifest, ordered by offset
    first: int  # number of the first batch that needs one of them
    last: np.ndarray  # for each image, number of the last batch that needs it


def fetches_of(manifest: Manifest, indices: np.ndarray) -> list[Fetch]:
    """Return all reads for `indices` [num_batches, B] into the manifest, ordered by first use.

    An image is kept from its read to its last use. If more than HORIZON_IMAGES images are between two uses,
    or between its first use and that of others in the same read, it is read once more. So memory is bounded for any
    indices; an order that is not made for streaming only reads more.
    """
    if indices.size == 0:
        return []
    horizon = max(1, HORIZON_IMAGES // indices.shape[1])  # batches
    image, first, last = _visits(indices, horizon)
    shard, start = manifest.shard[image], manifest.offset[image]
    read = _reads(shard, start // SPAN_BYTES, first, horizon)
    order = np.lexsort((start, read))
    end = start + manifest.size[image]
    is_cut = (np.diff(read[order]) != 0) | (start[order][1:] - end[order][:-1] > GAP_BYTES)
    visits = np.split(order, np.flatnonzero(is_cut) + 1)
    fetches = [Fetch(image[members], int(first[members].min()), last[members]) for members in visits]
    return sorted(fetches, key=lambda fetch: fetch.first)


def _visits(indices: np.ndarray, horizon: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return image, first batch and last batch of each stay in memory: uses at most `horizon` batches apart."""
    image, batch = indices.ravel(), np.repeat(np.arange(len(indices)), indices.shape[1])
    order = np.argsort(image, kind="stable")
    image, batch = image[order], batch[order]
    is_first = np.r_[True, (np.diff(image) != 0) | (np.diff(batch) > horizon)]
    is_last = np.r_[is_first[1:], True]
    return image[is_first], batch[is_first], batch[is_last]


def _reads(shard: np.ndarray, cell: np.ndarray, first: np.ndarray, horizon: int) -> np.ndarray:
    """Return the read of each visit; a read serves the visits of a shard's cell that start within `horizon` batches."""
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
