"""Which images form which batch: P works x K images, every image in every pass, a pure function of labels and seed."""

import numpy as np

from shards_tools.errors import Error


def identity_batches(
    labels: np.ndarray,
    works_per_batch: int,
    images_per_work: int,
    *,
    seed: int,
    epoch: int,
    images_per_epoch: int | None = None,
) -> np.ndarray:
    """Positions into `labels`, int64 [num_batches, P * K]: P distinct works per batch, K images of each side by side.

    A pass holds every image at least once. A work's images are dealt into groups of K; the last group is filled up
    with other images of the work (the same ones again where it has fewer than K), and the last batch with groups drawn
    a second time. A work with more than 1/P of all groups makes the pass longer: one batch for each group of it, for
    which the other works repeat.

    With `images_per_epoch` a pass is cut into pieces of at most so many images, of equal length but for one batch;
    epoch e (from 0) is piece e % pieces of pass e // pieces, so that short epochs still come to every image.
    """
    if len(labels) == 0 or works_per_batch < 1 or images_per_work < 1:
        raise Error(f"{len(labels)} images cannot form batches of {works_per_batch} works x {images_per_work} images.")
    images_of_work = _positions_of_each(np.asarray(labels))
    if len(images_of_work) < works_per_batch:
        raise Error(
            f"works_per_batch={works_per_batch} needs as many works, the training images come from"
            f" {len(images_of_work)}. Set works_per_batch to {len(images_of_work)} or less."
        )
    least_groups = np.array([-(-len(images) // images_per_work) for images in images_of_work])
    num_batches = max(-(-int(least_groups.sum()) // works_per_batch), int(least_groups.max()))
    num_pieces = _num_pieces(num_batches, works_per_batch * images_per_work, images_per_epoch)
    number, piece = divmod(epoch, num_pieces)

    generator = np.random.default_rng([seed, number])
    num_groups = _fill_up(least_groups, num_batches, works_per_batch, generator)
    works_BP = _draw_works(num_groups, num_batches, works_per_batch, generator)
    plan_BPK = np.empty((num_batches, works_per_batch, images_per_work), dtype=np.int64)
    for work, images in enumerate(images_of_work):
        plan_BPK[works_BP == work] = _deal(images, num_groups[work], images_per_work, generator)
    return np.array_split(plan_BPK.reshape(num_batches, -1), num_pieces)[piece]


def _positions_of_each(labels: np.ndarray) -> list[np.ndarray]:
    """For each distinct label, in ascending order, its positions."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)


def _num_pieces(num_batches: int, batch_size: int, images_per_epoch: int | None) -> int:
    if images_per_epoch is None:
        return 1
    if images_per_epoch < batch_size:
        raise Error(
            f"images_per_epoch={images_per_epoch} is less than one batch of {batch_size} images."
            f" Set it to {batch_size} or more."
        )
    return -(-num_batches // (images_per_epoch // batch_size))


def _fill_up(
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


def _draw_works(
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


def _deal(images: np.ndarray, num_groups: int, group_size: int, generator: np.random.Generator) -> np.ndarray:
    """The images of one work as [num_groups, K]: each once, then repeats; none twice in a group if there are K."""
    if len(images) < group_size:
        return np.stack([np.resize(generator.permutation(images), group_size) for _ in range(num_groups)])
    images = generator.permutation(images)
    rest = -len(images) % group_size
    full = len(images) // group_size * group_size
    once = np.concatenate([images, generator.permutation(images[:full])[:rest]]).reshape(-1, group_size)
    again = [generator.permutation(images)[:group_size] for _ in range(num_groups - len(once))]
    return np.concatenate([once, *(group[None] for group in again)])
