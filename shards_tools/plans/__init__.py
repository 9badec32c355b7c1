"""Plans choose the images of each batch; PLANS is the registry.

Every plan is a pure function that returns positions in `labels`, int64 [num_batches, P * K]:

    plan(labels, roles, draw)

`roles` holds the role of each image; only cross_role needs it, the others accept None.
"""

from collections.abc import Callable

import numpy as np

from shards_tools.plans.balanced import balanced_batches
from shards_tools.plans.cross_role import cross_role_batches
from shards_tools.plans.draw import Draw
from shards_tools.plans.full import full_batches
from shards_tools.plans.papers import papers_batches
from shards_tools.plans.shuffle import shuffle_batches

PLANS: dict[str, Callable[[np.ndarray, np.ndarray | None, Draw], np.ndarray]] = {
    "full": full_batches,
    "papers": papers_batches,
    "shuffle": shuffle_batches,
    "balanced": balanced_batches,
    "cross_role": cross_role_batches,
}
