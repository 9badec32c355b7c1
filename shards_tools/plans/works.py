"""The images of each work, and which works stand together in a batch of P works x K images."""

import numpy as np

from shards_tools.errors import Error
from shards_tools.plans.draw import Draw


def positions_of_each(labels: np.ndarray) -> list[np.ndarray]:
    """For each distinct label, in ascending order, its positions."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)


def images_of_works(labels: np.ndarray, draw: Draw) -> list[np.ndarray]:
    """For each work its positions in `labels`; refuses labels that give no batch of P distinct works."""
    check_sizes(labels, draw)
    images_of_work = positions_of_each(np.asarray(labels))
    if len(images_of_work) < draw.works_per_batch:
        raise Error(
            f"works_per_batch={draw.works_per_batch} needs as many works, the training images come from"
            f" {len(images_of_work)}. Set works_per_batch to {len(images_of_work)} or less."
        )
    return images_of_work


def check_sizes(labels: np.ndarray, draw: Draw) -> None:
    """Refuse what gives no batch at all: no images, no works, or no images of each."""
    if len(labels) == 0 or draw.works_per_batch < 1 or draw.images_per_work < 1:
        shape = f"{draw.works_per_batch} works x {draw.images_per_work} images"
        raise Error(f"{len(labels)} images cannot form batches of {shape}.")


def least_batches(least_groups: np.ndarray, works_per_batch: int) -> int:
    """The batches that so many groups of each work need: full ones, and no work twice in one."""
    return max(-(-int(least_groups.sum()) // works_per_batch), int(least_groups.max()))


def fill_up(
    least_groups: np.ndarray, num_batches: int, works_per_batch: int, generator: np.random.Generator
) -> np.ndarray:
    """How many groups each work gives to fill all batches: each at least its own, none more than one per batch."""
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
    """Works [num_batches, P], distinct in each row; work w in just num_groups[w] rows, spread evenly over the pass.

    The n groups of a work are due at random moments, one in each n-th of the pass, and a row takes the P works that
    are due first. A work with as many groups left as there are rows must come; there are never more than P of these,
    because what is left always fills the remaining rows exactly.
    """
    left = num_groups.copy()
    due = generator.random(len(left)) / num_groups
    works_BP = np.empty((num_batches, works_per_batch), dtype=np.int64)
    for batch in range(num_batches):
        urgent = np.where(left == num_batches - batch, -1.0, due)
        first = np.argpartition(urgent, works_per_batch - 1)[:works_per_batch]
        works_BP[batch] = chosen = np.sort(first)  # sorted: the order before differs between processors
        left[chosen] -= 1
        due[chosen] = (num_groups[chosen] - left[chosen] + generator.random(works_per_batch)) / num_groups[chosen]
    return works_BP
