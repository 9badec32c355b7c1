"""Epochs of batches: their parameters, short epochs as pieces of a pass, and the share of each rank in a batch."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from shards_tools.errors import Error


@dataclass(frozen=True, kw_only=True)
class EpochParams:
    """Shape of the batches, seed and epoch."""

    works_per_batch: int  # P
    images_per_work: int  # K
    seed: int
    epoch: int  # counted from 0
    images_per_epoch: int | None = None  # None: an epoch is one pass

    @property
    def batch_size(self) -> int:
        """Return the number of images per batch, P * K."""
        return self.works_per_batch * self.images_per_work


def epoch_of_pass(
    draw_pass: Callable[[np.random.Generator], np.ndarray], num_batches: int, params: EpochParams
) -> np.ndarray:
    """Return the batches of epoch `params.epoch`: a whole pass or, with `images_per_epoch`, a piece of one.

    A pass is divided into pieces of at most `images_per_epoch` images whose lengths differ by at most one batch. Epoch
    e is piece e % pieces of pass e // pieces, so that short epochs together cover a pass. If the length of a pass is
    random, the longest possible pass sets the number of pieces; a pass with fewer batches than pieces repeats.

    Args:
        draw_pass: returns a pass, [num_batches or fewer, batch_size], from a generator seeded by (seed, pass number).
        num_batches: the number of batches in the longest pass.
    """
    num_pieces = _num_pieces(num_batches, params)
    number, piece = divmod(params.epoch, num_pieces)
    indices = draw_pass(np.random.default_rng([params.seed, number]))
    batches = np.arange(max(len(indices), num_pieces)) % len(indices)
    return indices[np.array_split(batches, num_pieces)[piece]]


def _num_pieces(num_batches: int, params: EpochParams) -> int:
    if params.images_per_epoch is None:
        return 1
    if params.images_per_epoch < params.batch_size:
        raise Error(
            f"images_per_epoch={params.images_per_epoch} is less than one batch of {params.batch_size} images."
            f" Set it to {params.batch_size} or more."
        )
    return -(-num_batches // (params.images_per_epoch // params.batch_size))


def places_of_rank(batch_size: int, rank: int, world: int) -> slice:
    """Return the slice of a batch that belongs to rank `rank` of `world`; sizes differ by at most one.

    The losses see the whole batch, so the ranks share it. Every rank has the same number of batches, so none waits
    forever for another.
    """
    ends = np.cumsum([0, *map(len, np.array_split(np.empty(batch_size), world))])
    return slice(int(ends[rank]), int(ends[rank + 1]))
