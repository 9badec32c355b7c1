"""Batch samplers choose the images of each batch; BATCH_SAMPLERS is the registry.

Every sampler is a pure function that returns positions in `labels`, int64 [num_batches, P * K]:

    sampler(labels, roles, params)

`roles` holds the role of each image; only cross_role needs it, the others accept None.
"""

from collections.abc import Callable

import numpy as np

from shards_tools.batch_samplers.classification import balanced_batches, shuffle_batches
from shards_tools.batch_samplers.cross_role import cross_role_batches
from shards_tools.batch_samplers.epochs import EpochParams
from shards_tools.batch_samplers.full import full_batches
from shards_tools.batch_samplers.papers import papers_batches

BATCH_SAMPLERS: dict[str, Callable[[np.ndarray, np.ndarray | None, EpochParams], np.ndarray]] = {
    "full": full_batches,
    "papers": papers_batches,
    "shuffle": shuffle_batches,
    "balanced": balanced_batches,
    "cross_role": cross_role_batches,
}
