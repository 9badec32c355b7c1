"""The batch sampler `full`: P works x K images, every image in every pass."""

import numpy as np

from shards_tools.batch_samplers.epochs import EpochParams
from shards_tools.batch_samplers.works import batches_of_groups, groups_of_works, images_of_works


def full_batches(labels: np.ndarray, roles: np.ndarray | None, params: EpochParams) -> np.ndarray:
    """Return positions in `labels`, int64 [num_batches, P * K]: P distinct works per batch, K adjacent images of each.

    A pass contains every image at least once. A work's images are divided into groups of K. The last group is filled
    with other images of the work (with repeats if it has fewer than K), and the last batch with repeated groups. A work
    with more than 1/P of all groups makes the pass longer: it needs one batch per group, and the other works repeat.

    Raises:
        Error: there are no images, or fewer than P works.
    """
    images_of_work = images_of_works(labels, params)

    def deal(work: int, num_groups: int, generator: np.random.Generator) -> np.ndarray:
        return _deal(images_of_work[work], num_groups, params.images_per_work, generator)

    return batches_of_groups(groups_of_works(images_of_work, params), deal, params)


def _deal(images: np.ndarray, num_groups: int, group_size: int, generator: np.random.Generator) -> np.ndarray:
    """Return the images of one work as [num_groups, K]: each once, then repeats, in a group only if fewer than K."""
    if len(images) < group_size:
        return np.stack([np.resize(generator.permutation(images), group_size) for _ in range(num_groups)])
    images = generator.permutation(images)
    rest = -len(images) % group_size
    full = len(images) // group_size * group_size
    once = np.concatenate([images, generator.permutation(images[:full])[:rest]]).reshape(-1, group_size)
    again = [generator.permutation(images)[:group_size] for _ in range(num_groups - len(once))]
    return np.concatenate([once, *(group[None] for group in again)])
