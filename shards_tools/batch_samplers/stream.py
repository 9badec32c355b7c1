"""Batches for streaming: batches are drawn from the images that a walk through the shards has reached.

A block is a run of at most 16 images of one role that the writer put together. Blocks arrive in the order of a random
walk, one per pass, and their images wait in a pool. All batches are computed before the first byte is read.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from shards_tools.batch_samplers.epochs import EpochParams, epoch_of_pass
from shards_tools.batch_samplers.pool import draw_groups, draw_images
from shards_tools.batch_samplers.works import (
    groups_of_works,
    least_batches,
    partition_into_works,
    refuse_part_of_a_batch,
)
from shards_tools.errors import Error
from shards_tools.writer import IMAGES_PER_BLOCK


def stream_batches(
    sampler: str,
    labels: np.ndarray,
    roles: np.ndarray,
    params: EpochParams,
    *,
    shard: np.ndarray,
    offset: np.ndarray,
    rank: int = 0,
    world: int = 1,
    longest: Callable[[int], int] = int,
) -> np.ndarray:
    """Return positions in `labels`, int64 [num_batches, P * K]: a rank's batches, in an order that suits streaming.

    `full`: P distinct works, K adjacent images of each. A pass contains every image at least once, and no batch has an
    image twice if its work has K images. A work's last group is filled with images of it that arrived before.
    `shuffle`: any images, each at least once; the last batch is filled. Other samplers need random access.

    The walk is divided into `world` runs of equally many images, so that no two ranks read the same bytes. A rank draws
    the batches of its own run alone, which takes the share of one rank; runs with fewer batches than the longest
    repeat. If a run is too short for a batch, all ranks share one walk, and each of them reads most of the shards.

    With `images_per_epoch` a pass is divided as in other samplers, but a piece may be a few batches longer.

    Args:
        shard: the shard of each image.
        offset: the offset of each image in its shard.
        rank: 0..world-1.
        world: the number of ranks that share the epoch.
        longest: returns the greatest of the numbers that all ranks call it with, each its number of batches. It is
            called once, or on no rank. The default is right for one rank.

    Raises:
        Error: the sampler needs random access, or the images do not fill one batch.
    """
    if sampler not in LAWS:
        raise Error(
            f"batch_sampler={sampler} cannot stream: it needs random access to the images. Set it to"
            f" {' or '.join(LAWS)}, or use --reading offset or decoded."
        )
    law, num_batches = LAWS[sampler], _num_batches(sampler, labels, params)
    blocks = _Blocks.of(roles, shard, offset)

    def draw_pass(generator: np.random.Generator) -> np.ndarray:
        walk = blocks.draw_walk(generator)
        runs = blocks.runs(walk, world)
        if world == 1 or not all(blocks.suffice(run, sampler, labels, params) for run in runs):
            batches = law(labels, blocks.images_of(walk), params, generator)
            own = np.arange(rank, -(-len(batches) // world) * world, world)
        else:
            batches = law(labels, blocks.images_of(runs[rank]), params, generator.spawn(world)[rank])
            own = np.arange(longest(len(batches)))
        return batches[own % len(batches)]

    # The pieces of a pass count the images of all ranks.
    of_all_ranks = replace(params, works_per_batch=params.works_per_batch * world)
    return epoch_of_pass(draw_pass, -(-num_batches // world), of_all_ranks)


def _num_batches(sampler: str, labels: np.ndarray, params: EpochParams) -> int:
    """Return the minimum number of batches in a pass; raise an Error if the images do not fill one batch."""
    if sampler == "full":
        return least_batches(groups_of_works(partition_into_works(labels, params), params), params.works_per_batch)
    refuse_part_of_a_batch(labels, params)
    return -(-len(labels) // params.batch_size)


@dataclass(frozen=True)
class _Blocks:
    """The blocks of all shards, numbered in the order of shards and offsets."""

    images: np.ndarray  # positions in the labels, block by block
    starts: np.ndarray  # of each block in `images`, and the end of the last one
    shards: list[tuple[int, int]]  # of each shard that has images: its first block, and the end of its last one

    @classmethod
    def of(cls, roles: np.ndarray, shard: np.ndarray, offset: np.ndarray) -> "_Blocks":
        """Return the blocks of images with these roles and places."""
        images = np.lexsort((offset, shard))
        is_start = (np.diff(shard[images], prepend=-1) != 0) | (np.diff(roles[images], prepend=-1) != 0)
        runs_of_roles = np.flatnonzero(is_start)
        place = np.arange(len(images)) - runs_of_roles[np.cumsum(is_start) - 1]
        starts = np.append(np.flatnonzero(place % IMAGES_PER_BLOCK == 0), len(images))
        cuts = np.flatnonzero(np.diff(shard[images[starts[:-1]]])) + 1
        return cls(images, starts, list(pairwise([0, *cuts.tolist(), len(starts) - 1])))

    def draw_walk(self, generator: np.random.Generator) -> np.ndarray:
        """Return all block numbers, shard by shard in random order; each shard starts at a random block."""
        walk = []
        for place in generator.permutation(len(self.shards)):
            first, end = self.shards[place]
            entry = first + int(generator.integers(end - first))  # matters if there are few shards
            walk += [np.arange(entry, end), np.arange(first, entry)]
        return np.concatenate(walk)

    def runs(self, walk: np.ndarray, world: int) -> list[np.ndarray]:
        """Divide the walk into `world` runs of whole blocks with about equal numbers of images."""
        sizes = np.diff(self.starts)[walk]
        run_of_block = (np.cumsum(sizes) - sizes) * world // sizes.sum()
        cuts = np.searchsorted(run_of_block, np.arange(world + 1))
        return [walk[first:end] for first, end in pairwise(cuts)]

    def suffice(self, run: np.ndarray, sampler: str, labels: np.ndarray, params: EpochParams) -> bool:
        """Return whether some blocks have the images of at least one batch."""
        if sampler == "full":
            return len(np.unique(labels[self.images[self.starts[run]]])) >= params.works_per_batch
        return int((self.starts[run + 1] - self.starts[run]).sum()) >= params.batch_size

    def images_of(self, run: np.ndarray) -> list[np.ndarray]:
        """Return the images of each block of a run."""
        return [self.images[self.starts[block] : self.starts[block + 1]] for block in run]


LAWS: dict[str, Callable[[np.ndarray, Sequence[np.ndarray], EpochParams, np.random.Generator], np.ndarray]] = {
    "full": draw_groups,
    "shuffle": draw_images,
}
