"""Which part of every batch a rank takes, so that all ranks have the same number of batches."""

import numpy as np


def places_of_rank(batch_size: int, rank: int, world: int) -> slice:
    """The places in a batch that rank `rank` of `world` takes: neighbours, as many as any other rank to one.

    A batch is what the losses see, so ranks share it; each goes through as many batches as there are, and none waits
    for another for ever.
    """
    ends = np.cumsum([0, *map(len, np.array_split(np.empty(batch_size), world))])
    return slice(int(ends[rank]), int(ends[rank + 1]))
