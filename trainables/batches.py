"""Batches of an epoch: images in the order of a plan, as uint8, flipped and cropped, from seed and epoch alone.

B batch, H W pixels, C channels.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from shards_tools.errors import Error
from shards_tools.plans import PLANS
from trainables.recipes.recipe import Recipe

GEOMETRY = 1  # names the random stream of flips and crops beside the plan's


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


def training_batches(
    pixels: np.ndarray,
    indices: np.ndarray,
    labels: np.ndarray,
    roles: np.ndarray,
    recipe: Recipe,
    *,
    seed: int,
    epoch: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The epoch's batches, uint8 images BHWC and int64 works B; one thread makes the next while this one is used.

    Args:
        pixels: all decoded images, read-only.
        indices: which of them to train on.
        labels: their works, numbered 0..N-1, one per index.
        roles: their roles, one per index.
        epoch: counted from 1.
    """
    plan = _plan(labels, roles, recipe, seed, epoch)
    flips, tops, lefts = _geometry(plan.shape, recipe, seed, epoch)

    def make(batch: int) -> tuple[Tensor, Tensor]:
        places = plan[batch]
        images_BHWC = crop_and_flip(pixels[indices[places]], recipe.pad_px, flips[batch], tops[batch], lefts[batch])
        return torch.from_numpy(images_BHWC), torch.from_numpy(labels[places])

    with ThreadPoolExecutor(max_workers=1) as ahead:
        following = ahead.submit(make, 0)
        for batch in range(len(plan)):
            ready = following.result()
            if batch + 1 < len(plan):
                following = ahead.submit(make, batch + 1)
            yield ready


def crop_and_flip(
    images_BHWC: np.ndarray, pad_px: int, flips_B: np.ndarray, tops_B: np.ndarray, lefts_B: np.ndarray
) -> np.ndarray:
    """Each image mirrored where its flip is set, then cut from a zero border of `pad_px` at its top and left."""
    height, width = images_BHWC.shape[1:3]
    border = ((0, 0), (pad_px, pad_px), (pad_px, pad_px), (0, 0))
    padded_BHWC = np.pad(images_BHWC, border)
    cut_BHWC = np.empty_like(images_BHWC)
    for image, (flip, top, left) in enumerate(zip(flips_B, tops_B, lefts_B, strict=True)):
        source_HWC = padded_BHWC[image, :, ::-1] if flip else padded_BHWC[image]
        cut_BHWC[image] = source_HWC[top : top + height, left : left + width]
    return cut_BHWC


def _plan(labels: np.ndarray, roles: np.ndarray, recipe: Recipe, seed: int, epoch: int) -> np.ndarray:
    num_works = int(labels.max()) + 1 if len(labels) else 0
    works_per_batch, images_per_work = effective_batch(recipe, num_works)
    return PLANS[recipe.plan](
        labels,
        works_per_batch,
        images_per_work,
        seed=seed,
        epoch=epoch - 1,  # plans count from 0
        images_per_epoch=recipe.images_per_epoch,
        roles=roles,
    )


def _geometry(
    shape: tuple[int, ...], recipe: Recipe, seed: int, epoch: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flip, top and left of every place in the epoch's plan."""
    random = np.random.default_rng((seed, epoch, GEOMETRY))
    flips = random.random(shape) < recipe.flip_probability
    tops, lefts = random.integers(0, 2 * recipe.pad_px + 1, (2, *shape))
    return flips, tops, lefts
