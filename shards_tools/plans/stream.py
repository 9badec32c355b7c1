"""Plans for images that stream: batches come from what a walk through the shards has brought so far.

A block is what the writer put side by side: at most 16 images of one role. Blocks arrive in the order of a walk drawn
for the pass, and their images wait in a pool. All of it is settled before the first byte is read.
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
    """Positions into `labels`, int64 [num_batches, P * K]: the plan's batches, in an order in which shards can stream.

    `full`: P distinct works, K images of each side by side. A pass holds every image at least once, none twice in a
    batch where its work has K images. A work's last group is filled up with images of it that came before.
    `shuffle`: any images; every one at least once, the last batch filled up. Other plans need images in any order.

    Rank r takes the rows r, r + world, ... as of any plan. The walk is cut into `world` runs of equally many images, so
    that no two ranks read the same bytes; runs of fewer batches start again, so that all have equally many. Where a run
    is too short for a batch, one walk serves all ranks, and each of them reads most of the shards.

    With `images_per_epoch` a pass is cut as in other plans, but into pieces that may be longer by a few batches.

    Args:
        shard: in which shard each image lies, one per label.
        offset: where in it.
        world: how many ranks share the epoch.
    """
    if plan not in LAWS:
        raise Error(
            f"The plan {plan} cannot stream: it takes images in any order. Set plan to {' or '.join(LAWS)}, or take"
            " reading offset or decoded."
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

    # What `epoch_of_pass` takes for a batch is a round: one batch for every rank.
    a_round = replace(draw, works_per_batch=draw.works_per_batch * world)
    return epoch_of_pass(draw_pass, -(-num_batches // world), a_round).reshape(-1, draw.batch_size)


def _num_batches(plan: str, labels: np.ndarray, draw: Draw) -> int:
    """How long a pass is at least; refuses images that give no batch."""
    if plan == "full":
        images_of_work = images_of_works(labels, draw)
        least_groups = np.array([-(-len(images) // draw.images_per_work) for images in images_of_work])
        return least_batches(least_groups, draw.works_per_batch)
    check_sizes(labels, draw)
    if len(labels) < draw.batch_size:
        raise Error(
            f"{len(labels)} images to train on do not fill one batch of {draw.works_per_batch} works x"
            f" {draw.images_per_work} images. Set works_per_batch or images_per_work lower."
        )
    return -(-len(labels) // draw.batch_size)


def _blocks_of_shards(roles: np.ndarray, shard: np.ndarray, offset: np.ndarray) -> list[list[np.ndarray]]:
    """For each shard with images its blocks, in the order in which they lie."""
    order = np.lexsort((offset, shard))
    is_start = (np.diff(shard[order], prepend=-1) != 0) | (np.diff(roles[order], prepend=-1) != 0)
    starts = np.flatnonzero(is_start)
    place = np.arange(len(order)) - starts[np.cumsum(is_start) - 1]
    blocks = np.split(order, np.flatnonzero(place % IMAGES_PER_BLOCK == 0)[1:])
    first_of_shard = np.flatnonzero(np.diff([shard[block[0]] for block in blocks])) + 1
    cuts = [0, *first_of_shard.tolist(), len(blocks)]
    return [blocks[first:end] for first, end in pairwise(cuts)]


def _draw_walk(blocks_of_shards: Sequence[Blocks], generator: np.random.Generator) -> Blocks:
    """All blocks, shard after shard in a drawn order; each is entered at a drawn block, for sets of a few shards."""
    walk: list[np.ndarray] = []
    for place in generator.permutation(len(blocks_of_shards)):
        blocks = blocks_of_shards[place]
        entry = int(generator.integers(len(blocks)))
        walk += [*blocks[entry:], *blocks[:entry]]
    return walk


def _runs(walk: Blocks, world: int) -> list[Blocks]:
    """The walk in `world` runs of equally many images, to the block."""
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
