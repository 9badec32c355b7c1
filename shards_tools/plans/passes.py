"""Passes over the images, and the pieces of them that short epochs are."""

from collections.abc import Callable

import numpy as np

from shards_tools.errors import Error
from shards_tools.plans.draw import Draw


def epoch_of_pass(draw_pass: Callable[[np.random.Generator], np.ndarray], num_batches: int, draw: Draw) -> np.ndarray:
    """The batches of an epoch, counted from 0: a pass of its own or, with `images_per_epoch`, a piece of one.

    A pass is cut into pieces of at most so many images, of equal length but for one batch; epoch e is piece
    e % pieces of pass e // pieces, so that short epochs still come to every image of a pass. Where the draws decide how
    long a pass is, the longest says how many pieces all have; a pass with fewer batches than pieces starts again.

    Args:
        draw_pass: gives a pass, [num_batches or fewer, batch_size], drawn from (seed, number of the pass).
    """
    num_pieces = _num_pieces(num_batches, draw)
    number, piece = divmod(draw.epoch, num_pieces)
    plan = draw_pass(np.random.default_rng([draw.seed, number]))
    batches = np.arange(max(len(plan), num_pieces)) % len(plan)
    return plan[np.array_split(batches, num_pieces)[piece]]


def _num_pieces(num_batches: int, draw: Draw) -> int:
    if draw.images_per_epoch is None:
        return 1
    if draw.images_per_epoch < draw.batch_size:
        raise Error(
            f"images_per_epoch={draw.images_per_epoch} is less than one batch of {draw.batch_size} images."
            f" Set it to {draw.batch_size} or more."
        )
    return -(-num_batches // (draw.images_per_epoch // draw.batch_size))
