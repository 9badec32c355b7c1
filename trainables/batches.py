"""Batches of an epoch: images in the order of a plan, as uint8, augmented, from seed and epoch alone.

B batch, H W pixels, C channels.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial

import numpy as np
import torch
from torch import Tensor

from shards_tools.errors import Error
from shards_tools.images import DecodedImages, Images, NativeImages, one_shape, open_images
from shards_tools.manifest import Manifest
from shards_tools.plans import PLANS
from shards_tools.plans.draw import Draw
from shards_tools.plans.ranks import batches_of_rank
from shards_tools.plans.stream import LAWS, stream_batches
from shards_tools.stores.shard_cache import cached
from shards_tools.streaming.images import StreamedImages
from shards_tools.threads import in_order
from trainables.augmentation import Augmentation
from trainables.recipes.recipe import Recipe

TrainingImages = Images | NativeImages
Pictures = np.ndarray | Sequence[np.ndarray]  # BHWC, or HWC each


def effective_batch(recipe: Recipe, num_works: int) -> tuple[int, int]:
    """Works per batch and images per work for so many works to train on.

    Where there are fewer works than the recipe asks for, all are taken and the images of each raised, so that the
    batch keeps its size, to the last full group.
    """
    if num_works < 2:
        raise Error(f"{num_works} work to train on gives no negatives. Build shards with at least 2 works in train.")
    if num_works >= recipe.works_per_batch:
        return recipe.works_per_batch, recipe.images_per_work
    return num_works, recipe.works_per_batch * recipe.images_per_work // num_works


def training_images(recipe: Recipe, manifest: Manifest, reading: str, *, threads: int = 1) -> TrainingImages:
    """The images as the recipe's crops want them: somewhat larger, or as they are where crops are resized."""
    if recipe.crop_area is None:
        size = recipe.image_size + recipe.enlarge_px
        return open_images(manifest, size, size, reading, threads=threads)
    shape = one_shape(manifest)
    if shape is not None:
        return open_images(manifest, *shape, reading, threads=threads)
    if reading not in ("auto", "offset"):
        raise Error(
            f"{recipe.name}: crop_area={recipe.crop_area} reads images at the sizes they have, and those of"
            f" {manifest.store} differ: reading={reading} does not do. Take reading offset."
        )
    return NativeImages(cached(manifest), threads=threads)


def training_batches(
    images: TrainingImages | np.ndarray,
    indices: np.ndarray,
    labels: np.ndarray,
    roles: np.ndarray,
    recipe: Recipe,
    *,
    seed: int,
    epoch: int,
    rank: int = 0,
    world: int = 1,
    workers: int = 1,
    first: int = 0,
) -> Generator[tuple[Tensor, Tensor]]:
    """A rank's batches of the epoch, uint8 images BHWC and int64 works B, made ahead while others are used.

    Args:
        images: all images of the manifest, as `training_images` opens them.
        indices: which of them to train on.
        labels: their works, numbered 0..N-1, one per index.
        roles: their roles, one per index.
        epoch: counted from 1.
        rank: of `world` that share the epoch, each with the same number of batches. No environment variable counts.
        workers: threads that make batches; 0 makes each when it is asked for. The batches are the same.
        first: how many of the rank's batches to leave out: a training that stopped there goes on with the others.
    """
    draw = _draw(labels, recipe, seed, epoch)
    if isinstance(images, StreamedImages) and recipe.plan in LAWS:  # in an order that reads each shard once
        shard, offset = images.places(indices)
        plan = stream_batches(recipe.plan, labels, roles, draw, shard=shard, offset=offset, world=world)
    else:
        plan = PLANS[recipe.plan](labels, roles, draw)
    augment = Augmentation(recipe, plan.shape, seed=seed, epoch=epoch)
    numbers = batches_of_rank(len(plan), rank, world)[first:]

    def make(batch: int, read: Callable[[], Pictures]) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(augment(read(), batch)), torch.from_numpy(labels[plan[batch]])

    with closing(_reads(images, indices[plan[numbers]])) as reads:
        yield from in_order((partial(make, batch, read) for batch, read in zip(numbers, reads, strict=True)), workers)


def _reads(images: TrainingImages | np.ndarray, rows: np.ndarray) -> Generator[Callable[[], Pictures]]:
    """For each row of indices what reads its images, in whichever thread; those of a stream are here already."""
    if isinstance(images, DecodedImages):
        yield from (partial(images.views, row) for row in rows)
    elif isinstance(images, StreamedImages):
        yield from (partial(np.asarray, images_BHWC) for images_BHWC in images.batches(rows))
    else:
        yield from (partial(images.__getitem__, row) for row in rows)


def _draw(labels: np.ndarray, recipe: Recipe, seed: int, epoch: int) -> Draw:
    """What the epoch's plan is drawn by."""
    num_works = int(labels.max()) + 1 if len(labels) else 0
    works_per_batch, images_per_work = effective_batch(recipe, num_works)
    return Draw(
        works_per_batch=works_per_batch,
        images_per_work=images_per_work,
        seed=seed,
        epoch=epoch - 1,  # plans count from 0
        images_per_epoch=recipe.images_per_epoch,
    )
