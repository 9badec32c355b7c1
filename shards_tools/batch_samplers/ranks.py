"""Divide every batch among the ranks, so that all ranks have the same number of batches."""

import numpy as np


def places_of_rank(batch_size: int, rank: int, world: int) -> slice:
    """Return the slice of a batch that belongs to rank `rank` of `world`; sizes differ by at most one.

    The losses see the whole batch, so the ranks share it. Every rank has the same number of batches, so none waits
    forever for another.
    """
    ends = np.cumsum([0, *map(len, np.array_split(np.empty(batch_size), world))])
    return slice(int(ends[rank]), int(ends[rank + 1]))
