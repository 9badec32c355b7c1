"""Group images by work, and choose the works of each batch of P works x K images."""

from collections.abc import Callable

import numpy as np

from shards_tools.batch_samplers.epochs import EpochParams, epoch_of_pass
from shards_tools.batch_samplers.members import Partition, stable_argsort
from shards_tools.batch_samplers.rows import draw_rows
from shards_tools.errors import Error


def partition_into_works(labels: np.ndarray, params: EpochParams) -> Partition:
    """Return the images of `labels` by their works, in ascending order of the works.

    Raises:
        Error: there are fewer than P works or no images, or P or K is less than 1.
    """
    check_sizes(labels, params)
    works = Partition.of(np.asarray(labels))
    if len(works.sizes) < params.works_per_batch:
        raise Error(
            f"works_per_batch={params.works_per_batch} is more than the {len(works.sizes)} works in train."
            f" Set works_per_batch to {len(works.sizes)} or less."
        )
    return works


def check_sizes(labels: np.ndarray, params: EpochParams) -> None:
    """Check that the images can form batches of P works x K images.

    Raises:
        Error: there are no images, or P or K is less than 1.
    """
    if len(labels) == 0 or params.works_per_batch < 1 or params.images_per_work < 1:
        shape = f"{params.works_per_batch} works x {params.images_per_work} images"
        raise Error(f"{len(labels)} images cannot form batches of {shape}. Use at least one of each.")


def groups_of_works(works: Partition, params: EpochParams) -> np.ndarray:
    """Return the number of groups of K that the images of each work need."""
    num_groups: np.ndarray = -(-works.sizes // params.images_per_work)
    return num_groups


def refuse_part_of_a_batch(labels: np.ndarray, params: EpochParams) -> None:
    """Check that the images fill at least one batch.

    Raises:
        Error: they do not, or P or K is less than 1.
    """
    check_sizes(labels, params)
    if len(labels) < params.batch_size:
        raise Error(
            f"{len(labels)} training images do not fill one batch of {params.works_per_batch} works x"
            f" {params.images_per_work} images. Lower works_per_batch or images_per_work."
        )


def batches_of_groups(
    least_groups: np.ndarray,
    deal: Callable[[np.ndarray, np.random.Generator], np.ndarray],
    params: EpochParams,
) -> np.ndarray:
    """Return the batches of an epoch, [num_batches, P * K], each of groups of P distinct works.

    Args:
        least_groups: the number of groups that each work needs for all of its images.
        deal: `deal(num_groups, generator)` returns num_groups[w] groups of each work w, one work after another,
            [sum of num_groups, K].
    """
    num_batches = least_batches(least_groups, params.works_per_batch)

    def draw_pass(generator: np.random.Generator) -> np.ndarray:
        num_groups = fill_up(least_groups, num_batches, params.works_per_batch, generator)
        works_BP = draw_rows(num_groups, params.works_per_batch, generator)
        images_BPK = np.empty((works_BP.size, params.images_per_work), dtype=np.int64)
        images_BPK[stable_argsort(works_BP.ravel())] = deal(num_groups, generator)
        return images_BPK.reshape(num_batches, -1)

    return epoch_of_pass(draw_pass, num_batches, params)


def least_batches(least_groups: np.ndarray, works_per_batch: int) -> int:
    """Return the number of batches that the groups of each work need, with no work twice in a batch."""
    return max(-(-int(least_groups.sum()) // works_per_batch), int(least_groups.max()))


def fill_up(
    least_groups: np.ndarray, num_batches: int, works_per_batch: int, generator: np.random.Generator
) -> np.ndarray:
    """Return the number of groups of each work that fills all batches: at least its own, at most one per batch.

    Args:
        least_groups: the number of groups that each work needs for all of its images, [num_works].
        num_batches: at least `least_batches`.
        works_per_batch: groups per batch, P.
        generator: chooses which works get more groups.

    Returns:
        An array like `least_groups`, with the sum num_batches * P.
    """
    num_groups: np.ndarray = least_groups.copy()
    missing = num_batches * works_per_batch - int(num_groups.sum())
    while missing:
        chosen = generator.permutation(np.flatnonzero(num_groups < num_batches))[:missing]
        num_groups[chosen] += 1
        missing -= len(chosen)
    return num_groups
