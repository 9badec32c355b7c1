"""Plans for streaming: batches are drawn from the images that a walk through the shards has reached.

A block is a run of at most 16 images of one role that the writer put together. Blocks arrive in the order of a random
walk, one per pass, and their images wait in a pool. All batches are computed before the first byte is read.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from shards_tools.errors import Error
from shards_tools.plans.draw import Draw
from shards_tools.plans.passes import epoch_of_pass
from shards_tools.plans.pool import draw_groups, draw_images
from shards_tools.plans.works import check_sizes, images_of_works, least_batches
from shards_tools.writer import IMAGES_PER_BLOCK

Blocks = Sequence[np.ndarray]


def stream_batches(
    plan: str,
    labels: np.ndarray,
    roles: np.ndarray,
    draw: Draw,
    *,
    shard: np.ndarray,
    offset: np.ndarray,
    world: int = 1,
) -> np.ndarray:
    """Return positions in `labels`, int64 [num_batches, P * K]: the plan's batches in an order that suits streaming.

    `full`: P distinct works, K adjacent images of each. A pass contains every image at least once, and no batch has an
    image twice if its work has K images. A work's last group is filled with images of it that arrived before.
    `shuffle`: any images, each at least once; the last batch is filled. Other plans need random access.

    Rank r takes the rows r, r + world, ... as with any plan. The walk is divided into `world` runs with equal numbers
    of images, so that no two ranks read the same bytes; runs with fewer batches repeat, so that all have the same
    number. If a run is too short for a batch, all ranks share one walk, and each of them reads most of the shards.

    With `images_per_epoch` a pass is divided as in other plans, but a piece may be a few batches longer.

    Args:
        shard: the shard of each image.
        offset: the offset of each image in its shard.
        world: the number of ranks that share the epoch.
    """
    if plan not in LAWS:
        raise Error(
            f"plan={plan} cannot stream: it needs random access to the images. Set plan to {' or '.join(LAWS)}, or use"
            " --reading offset or decoded."
        )
    law, num_batches = LAWS[plan], _num_batches(plan, labels, draw)
    blocks_of_shards = _blocks_of_shards(roles, shard, offset)

    def draw_pass(generator: np.random.Generator) -> np.ndarray:
        walk = _draw_walk(blocks_of_shards, generator)
        runs = _runs(walk, world)
        if not all(_suffices(plan, labels, run, draw) for run in runs):
            batches = law(labels, walk, draw, generator)
            return batches[np.arange(-(-len(batches) // world) * world) % len(batches)].reshape(
                -1, world * draw.batch_size
            )
        plans = [law(labels, run, draw, generator) for run in runs]
        longest = max(map(len, plans))
        return np.concatenate([batches[np.arange(longest) % len(batches)] for batches in plans], axis=1)

    # A "batch" of `epoch_of_pass` is a round here: one batch for every rank.
    a_round = replace(draw, works_per_batch=draw.works_per_batch * world)
    return epoch_of_pass(draw_pass, -(-num_batches // world), a_round).reshape(-1, draw.batch_size)


def _num_batches(plan: str, labels: np.ndarray, draw: Draw) -> int:
    """Return the minimum number of batches in a pass; raise an Error if the images do not fill one batch."""
    if plan == "full":
        images_of_work = images_of_works(labels, draw)
        least_groups = np.array([-(-len(images) // draw.images_per_work) for images in images_of_work])
        return least_batches(least_groups, draw.works_per_batch)
    check_sizes(labels, draw)
    if len(labels) < draw.batch_size:
        raise Error(
            f"{len(labels)} training images do not fill one batch of {draw.works_per_batch} works x"
            f" {draw.images_per_work} images. Lower works_per_batch or images_per_work."
        )
    return -(-len(labels) // draw.batch_size)


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


def _suffices(plan: str, labels: np.ndarray, run: Blocks, draw: Draw) -> bool:
    images = np.concatenate(run) if run else np.empty(0, np.int64)
    if plan == "full":
        return len(np.unique(labels[images])) >= draw.works_per_batch
    return len(images) >= draw.batch_size


LAWS: dict[str, Callable[[np.ndarray, Blocks, Draw, np.random.Generator], np.ndarray]] = {
    "full": draw_groups,
    "shuffle": draw_images,
}
