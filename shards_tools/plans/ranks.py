"""Which batches of a plan a rank takes, so that all ranks have the same number of them."""

import numpy as np


def batches_of_rank(num_batches: int, rank: int, world: int) -> np.ndarray:
    """Numbers of the batches that rank `rank` of `world` takes, int64 and ascending: every `world`-th.

    Each rank has num_batches // world, whatever rank or shard the images came from: a rank with one more would wait
    for the others for ever. The last num_batches % world batches of the plan are left out.
    """
    return np.arange(rank, num_batches, world, dtype=np.int64)[: num_batches // world]
