"""The batch sampler `full`: P works x K images, every image in every pass."""

from functools import partial

import numpy as np

from shards_tools.batch_samplers.epochs import EpochParams
from shards_tools.batch_samplers.members import Partition, numbered
from shards_tools.batch_samplers.works import batches_of_groups, groups_of_works, partition_into_works


def full_batches(labels: np.ndarray, roles: np.ndarray | None, params: EpochParams) -> np.ndarray:
    """Return positions in `labels`, int64 [num_batches, P * K]: P distinct works per batch, K adjacent images of each.

    A pass contains every image at least once. A work's images are divided into groups of K. The last group is filled
    with other images of the work (with repeats if it has fewer than K), and the last batch with repeated groups. A work
    with more than 1/P of all groups makes the pass longer: it needs one batch per group, and the other works repeat.

    Raises:
        Error: there are no images, or fewer than P works.
    """
    works = partition_into_works(labels, params)
    return batches_of_groups(groups_of_works(works, params), partial(_deal, works, params.images_per_work), params)


def _deal(works: Partition, group_size: int, num_groups: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return `num_groups[w]` groups of each work w, [sum of num_groups, K].

    A work's images are shuffled and divided into groups, and again as often as it has groups left. The last group of
    each order is filled with its first images.
    """
    groups_per_order = -(-works.sizes // group_size)
    num_copies = -(-num_groups // groups_per_order) - 1
    orders = works.shuffled(generator).with_copies(num_copies, generator)
    work = np.repeat(np.arange(len(num_groups)), num_groups)
    copy, place = np.divmod(numbered(num_groups), groups_per_order[work])
    first_copy = len(num_groups) + np.cumsum(num_copies) - num_copies
    order = np.where(copy == 0, work, first_copy[work] + copy - 1)
    return orders.at(order[:, None], place[:, None] * group_size + np.arange(group_size))
