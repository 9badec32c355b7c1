"""The batch sampler `papers`: torchreid's sampler, which TransReID and AGW use, to reproduce their results."""

import numpy as np

from shards_tools.batch_samplers.epochs import EpochParams, epoch_of_pass
from shards_tools.batch_samplers.members import numbered, stable_argsort
from shards_tools.batch_samplers.works import partition_into_works
from shards_tools.splits import positions_of_each


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
    works = partition_into_works(labels, params)
    num_groups = np.maximum(works.sizes // params.images_per_work, 1)

    def draw_pass(generator: np.random.Generator) -> np.ndarray:
        images_of_work = positions_of_each(np.asarray(labels))
        groups = np.concatenate([_groups(images, params.images_per_work, generator) for images in images_of_work])
        works_BP = _draw_works(num_groups, params.works_per_batch, generator)
        order = stable_argsort(works_BP.ravel())
        uses = np.bincount(works_BP.ravel(), minlength=len(num_groups))
        images_BPK = np.empty((works_BP.size, params.images_per_work), np.int64)
        images_BPK[order] = groups[np.repeat(np.cumsum(num_groups) - 1, uses) - numbered(uses)]
        return images_BPK.reshape(len(works_BP), -1)

    return epoch_of_pass(draw_pass, _most_batches(num_groups, params.works_per_batch), params)


def _draw_works(num_groups: np.ndarray, works_per_batch: int, generator: np.random.Generator) -> np.ndarray:
    """Return the works of each batch, [num_batches, P], until fewer than P works have groups left."""
    left, with_groups = num_groups.copy(), np.arange(len(num_groups))
    batches = []
    while len(with_groups) >= works_per_batch:
        works = generator.choice(with_groups, works_per_batch, replace=False)
        left[works] -= 1
        if not left[works].all():
            with_groups = with_groups[left[with_groups] > 0]
        batches.append(works)
    return np.stack(batches)


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
