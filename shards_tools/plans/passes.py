"""Passes over the images, and the pieces of them that short epochs are."""

from collections.abc import Callable

import numpy as np

from shards_tools.errors import Error


def epoch_of_pass(
    draw_pass: Callable[[np.random.Generator], np.ndarray],
    num_batches: int,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    images_per_epoch: int | None,
) -> np.ndarray:
    """The batches of an epoch, counted from 0: a pass of its own or, with `images_per_epoch`, a piece of one.

    A pass is cut into pieces of at most so many images, of equal length but for one batch; epoch e is piece
    e % pieces of pass e // pieces, so that short epochs still come to every image of a pass. Where the draws decide how
    long a pass is, the longest says how many pieces all have; a pass with fewer batches than pieces starts again.

    Args:
        draw_pass: gives a pass, [num_batches or fewer, batch_size], drawn from (seed, number of the pass).
    """
    num_pieces = _num_pieces(num_batches, batch_size, images_per_epoch)
    number, piece = divmod(epoch, num_pieces)
    plan = draw_pass(np.random.default_rng([seed, number]))
    batches = np.arange(max(len(plan), num_pieces)) % len(plan)
    return plan[np.array_split(batches, num_pieces)[piece]]


def _num_pieces(num_batches: int, batch_size: int, images_per_epoch: int | None) -> int:
    if images_per_epoch is None:
        return 1
    if images_per_epoch < batch_size:
        raise Error(
            f"images_per_epoch={images_per_epoch} is less than one batch of {batch_size} images."
            f" Set it to {batch_size} or more."
        )
    return -(-num_batches // (images_per_epoch // batch_size))
