"""Batches for streaming: batches are drawn from the images that a walk through the shards has reached.

A block is a run of at most 16 images of one role that the writer put together. Blocks arrive in the order of a random
walk, one per pass, and their images wait in a pool. All batches are computed before the first byte is read.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
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

Blocks = Sequence[np.ndarray]


def stream_batches(
    sampler: str,
    labels: np.ndarray,
    roles: np.ndarray,
    params: EpochParams,
    *,
    shard: np.ndarray,
    offset: np.ndarray,
    world: int = 1,
) -> np.ndarray:
    """Return positions in `labels`, int64 [num_batches, P * K]: the sampler's batches in an order that suits streaming.

    `full`: P distinct works, K adjacent images of each. A pass contains every image at least once, and no batch has an
    image twice if its work has K images. A work's last group is filled with images of it that arrived before.
    `shuffle`: any images, each at least once; the last batch is filled. Other samplers need random access.

    Rank r takes the rows r, r + world, ... as with any sampler. The walk is divided into `world` runs of equally many
    images, so that no two ranks read the same bytes; runs with fewer batches repeat, so that all have the same
    number. If a run is too short for a batch, all ranks share one walk, and each of them reads most of the shards.

    With `images_per_epoch` a pass is divided as in other samplers, but a piece may be a few batches longer.

    Args:
        shard: the shard of each image.
        offset: the offset of each image in its shard.
        world: the number of ranks that share the epoch.

    Raises:
        Error: the sampler needs random access, or the images do not fill one batch.
    """
    if sampler not in LAWS:
        raise Error(
            f"batch_sampler={sampler} cannot stream: it needs random access to the images. Set it to"
            f" {' or '.join(LAWS)}, or use --reading offset or decoded."
        )
    law, num_batches = LAWS[sampler], _num_batches(sampler, labels, params)
    blocks_of_shards = _blocks_of_shards(roles, shard, offset)

    def draw_pass(generator: np.random.Generator) -> np.ndarray:
        walk = _draw_walk(blocks_of_shards, generator)
        runs = _runs(walk, world)
        if not all(_suffices(sampler, labels, run, params) for run in runs):
            batches = law(labels, walk, params, generator)
            return batches[np.arange(-(-len(batches) // world) * world) % len(batches)].reshape(
                -1, world * params.batch_size
            )
        of_runs = [law(labels, run, params, generator) for run in runs]
        longest = max(map(len, of_runs))
        return np.concatenate([batches[np.arange(longest) % len(batches)] for batches in of_runs], axis=1)

    # A "batch" of `epoch_of_pass` is a round here: one batch for every rank.
    a_round = replace(params, works_per_batch=params.works_per_batch * world)
    return epoch_of_pass(draw_pass, -(-num_batches // world), a_round).reshape(-1, params.batch_size)


def _num_batches(sampler: str, labels: np.ndarray, params: EpochParams) -> int:
    """Return the minimum number of batches in a pass; raise an Error if the images do not fill one batch."""
    if sampler == "full":
        return least_batches(groups_of_works(partition_into_works(labels, params), params), params.works_per_batch)
    refuse_part_of_a_batch(labels, params)
    return -(-len(labels) // params.batch_size)


def _blocks_of_shards(roles: np.ndarray, shard: np.ndarray, offset: np.ndarray) -> list[list[np.ndarray]]:
    """Return the blocks of each shard that has images, in the order of their offsets."""
    order = np.lexsort((offset, shard))
    is_start = (np.diff(shard[order], prepend=-1) != 0) | (np.diff(roles[order], prepend=-1) != 0)
    starts = np.flatnonzero(is_start)
    place = np.arange(len(order)) - starts[np.cumsum(is_start) - 1]
    blocks = np.split(order, np.flatnonzero(place % IMAGES_PER_BLOCK == 0)[1:])
    first_of_shard = np.flatnonzero(np.diff([shard[block[0]] for block in blocks])) + 1
    cuts = [0, *first_of_shard.tolist(), len(blocks)]
    return [blocks[first:end] for first, end in pairwise(cuts)]


def _draw_walk(blocks_of_shards: Sequence[Blocks], generator: np.random.Generator) -> Blocks:
    """Return all blocks, shard by shard in random order; each shard starts at a random block (for few shards)."""
    walk: list[np.ndarray] = []
    for place in generator.permutation(len(blocks_of_shards)):
        blocks = blocks_of_shards[place]
        entry = int(generator.integers(len(blocks)))
        walk += [*blocks[entry:], *blocks[:entry]]
    return walk


def _runs(walk: Blocks, world: int) -> list[Blocks]:
    """Divide the walk into `world` runs of whole blocks with about equal numbers of images."""
    sizes = np.array([len(block) for block in walk])
    run_of_block = (np.cumsum(sizes) - sizes) * world // sizes.sum()
    cuts = np.searchsorted(run_of_block, np.arange(world + 1))
    return [walk[first:end] for first, end in pairwise(cuts)]


def _suffices(sampler: str, labels: np.ndarray, run: Blocks, params: EpochParams) -> bool:
    images = np.concatenate(run) if run else np.empty(0, np.int64)
    if sampler == "full":
        return len(np.unique(labels[images])) >= params.works_per_batch
    return len(images) >= params.batch_size


LAWS: dict[str, Callable[[np.ndarray, Blocks, EpochParams, np.random.Generator], np.ndarray]] = {
    "full": draw_groups,
    "shuffle": draw_images,
}
