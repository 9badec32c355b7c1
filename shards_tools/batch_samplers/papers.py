"""The batch sampler `papers`: torchreid's sampler, which TransReID and AGW use, to reproduce their results."""

import numpy as np

from shards_tools.batch_samplers.epochs import EpochParams, epoch_of_pass
from shards_tools.batch_samplers.works import images_of_works


def papers_batches(labels: np.ndarray, roles: np.ndarray | None, params: EpochParams) -> np.ndarray:
    """Return positions in `labels`, int64 [num_batches, P * K]: P distinct works per batch, K adjacent images of each.

    This is torchreid's RandomIdentitySampler with other random numbers. A work's images are shuffled and divided into
    groups of K, without the remainder; a work with fewer than K images gives one group, drawn with replacement. Each
    batch takes one group of each of P works, drawn without replacement from the works with groups left, until fewer
    than P such works remain.

    A pass does not contain every image: it lacks the remainders and the groups left at the end, different ones in each
    pass. The number of batches is random.

    Raises:
        Error: there are no images, or fewer than P works.
    """
    images_of_work = images_of_works(labels, params)
    num_groups = np.array([max(len(images) // params.images_per_work, 1) for images in images_of_work])

    def draw_pass(generator: np.random.Generator) -> np.ndarray:
        groups_of_work = [_groups(images, params.images_per_work, generator) for images in images_of_work]
        left = num_groups.copy()
        batches = []
        while len(with_groups := np.flatnonzero(left)) >= params.works_per_batch:
            works = generator.choice(with_groups, params.works_per_batch, replace=False)
            left[works] -= 1
            batches.append(np.concatenate([groups_of_work[work][left[work]] for work in works]))
        return np.stack(batches)

    return epoch_of_pass(draw_pass, _most_batches(num_groups, params.works_per_batch), params)


def _groups(images: np.ndarray, group_size: int, generator: np.random.Generator) -> np.ndarray:
    """Return the images of one work as [num_groups, K], without the remainder."""
    if len(images) < group_size:
        return generator.choice(images, (1, group_size))
    return generator.permutation(images)[: len(images) // group_size * group_size].reshape(-1, group_size)


def _most_batches(num_groups: np.ndarray, works_per_batch: int) -> int:
    """Return the largest n for which n batches can be filled: a work gives at most one group to each batch."""
    num_batches = int(num_groups.sum()) // works_per_batch
    while (filled := int(np.minimum(num_groups, num_batches).sum()) // works_per_batch) < num_batches:
        num_batches = filled
    return num_batches
