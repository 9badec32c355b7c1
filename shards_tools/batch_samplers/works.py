"""Group images by work, and choose the works of each batch of P works x K images."""

from collections.abc import Callable

import numpy as np

from shards_tools.batch_samplers.epochs import EpochParams, epoch_of_pass
from shards_tools.errors import Error
from shards_tools.splits import positions_of_each


def images_of_works(labels: np.ndarray, params: EpochParams) -> list[np.ndarray]:
    """Return the positions of each work's images in `labels`, in ascending order of the works.

    Raises:
        Error: there are fewer than P works or no images, or P or K is less than 1.
    """
    check_sizes(labels, params)
    images_of_work = positions_of_each(np.asarray(labels))
    if len(images_of_work) < params.works_per_batch:
        raise Error(
            f"works_per_batch={params.works_per_batch} is more than the {len(images_of_work)} works in train."
            f" Set works_per_batch to {len(images_of_work)} or less."
        )
    return images_of_work


def check_sizes(labels: np.ndarray, params: EpochParams) -> None:
    """Check that the images can form batches of P works x K images.

    Raises:
        Error: there are no images, or P or K is less than 1.
    """
    if len(labels) == 0 or params.works_per_batch < 1 or params.images_per_work < 1:
        shape = f"{params.works_per_batch} works x {params.images_per_work} images"
        raise Error(f"{len(labels)} images cannot form batches of {shape}. Use at least one of each.")


def groups_of_works(images_of_work: list[np.ndarray], params: EpochParams) -> np.ndarray:
    """Return the number of groups of K that the images of each work need."""
    return np.array([-(-len(images) // params.images_per_work) for images in images_of_work])


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
    deal: Callable[[int, int, np.random.Generator], np.ndarray],
    params: EpochParams,
) -> np.ndarray:
    """Return the batches of an epoch, [num_batches, P * K], each of groups of P distinct works.

    Args:
        least_groups: the number of groups that each work needs for all of its images.
        deal: `deal(work, num_groups, generator)` returns the groups of a work, [num_groups, K].
    """
    num_batches = least_batches(least_groups, params.works_per_batch)

    def draw_pass(generator: np.random.Generator) -> np.ndarray:
        num_groups = fill_up(least_groups, num_batches, params.works_per_batch, generator)
        works_BP = draw_works(num_groups, num_batches, params.works_per_batch, generator)
        images_BPK = np.empty((*works_BP.shape, params.images_per_work), dtype=np.int64)
        for work in range(len(least_groups)):
            images_BPK[works_BP == work] = deal(work, int(num_groups[work]), generator)
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


def draw_works(
    num_groups: np.ndarray, num_batches: int, works_per_batch: int, generator: np.random.Generator
) -> np.ndarray:
    """Draw the works of each batch of a pass, spread over the pass.

    The n groups of a work are due at random times, one in each n-th of the pass, and a row takes the P works that are
    due first. A work with as many groups left as there are rows left must be taken. There are never more than P such
    works, because the remaining groups fill the remaining rows exactly.

    Args:
        num_groups: in how many batches each work occurs, [num_works]: 1 to num_batches, with the sum num_batches * P.
        num_batches: the length of the pass.
        works_per_batch: distinct works in a batch, P.
        generator: draws the times.

    Returns:
        Indices into `num_groups`, int64 [num_batches, P], ascending in each row.
    """
    left = num_groups.copy()
    due = generator.random(len(left)) / num_groups
    works_BP = np.empty((num_batches, works_per_batch), dtype=np.int64)
    for batch in range(num_batches):
        urgent = np.where(left == num_batches - batch, -1.0, due)
        first = np.argpartition(urgent, works_per_batch - 1)[:works_per_batch]
        works_BP[batch] = chosen = np.sort(first)  # argpartition's order differs between processors
        left[chosen] -= 1
        due[chosen] = (num_groups[chosen] - left[chosen] + generator.random(works_per_batch)) / num_groups[chosen]
    return works_BP
