"""Augmentation of uint8 batches: crops, flips and color jitter, with parameters from seed, epoch and batch position.

B batch, H height, W width, C channels.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from trainables.data.color import jitter_at_once, jitter_one_by_one, sample_colors
from trainables.data.crops import crop_law
from trainables.data.geometry import crop_and_flip, crop_and_flip_batch, resized_crops, resized_crops_batch
from trainables.data.reading import Pictures
from trainables.recipes.images import JITTERS, ImageSettings
from trainables.recipes.recipe import Recipe

GEOMETRY, CROPS, COLORS = 1, 2, 3  # keys of the random streams; the batch sampler has its own
Allocate = Callable[[tuple[int, ...]], Tensor]  # returns a uint8 tensor of a shape, on the CPU


@dataclass(frozen=True)
class AugmentParams:
    """The values sampled for the augmentation of a batch. What is None is not done."""

    flips_B: Tensor | None = None  # bool; set together with corners or boxes
    corners_B2: Tensor | None = None  # int64, top and left of each crop, counted from the corner of the border
    boxes_B4: Tensor | None = None  # int64, top, left, height and width of each resized crop in px
    factors_B4: Tensor | None = None  # float64, of brightness, contrast, saturation and hue
    orders_B4: Tensor | None = None  # int64, the order in which each image gets the four

    def each(self, change: Callable[[Tensor], Tensor]) -> "AugmentParams":
        """Return the parameters with a function applied to each tensor."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return AugmentParams(**{name: None if part is None else change(part) for name, part in parts.items()})

    def geometry(self) -> "AugmentParams":
        """Return the parameters of crops and flips."""
        return replace(self, factors_B4=None, orders_B4=None)

    def colors(self) -> "AugmentParams | None":
        """Return the parameters of colors, or None if these stay."""
        return None if self.factors_B4 is None else replace(self, flips_B=None, corners_B2=None, boxes_B4=None)


class Augmentation:
    """The augmentation of one epoch. It depends only on seed, epoch and the image's position in the epoch's batches.

    Args:
        shape: number of batches, and of images in each.
        places: this process's part of each batch.
    """

    def __init__(self, recipe: Recipe, shape: tuple[int, ...], places: slice, *, seed: int, epoch: int) -> None:
        random = np.random.default_rng((seed, epoch, GEOMETRY))
        self._flips = random.random(shape) < recipe.flip_probability
        highest = 2 * recipe.pad_px + recipe.enlarge_px
        self._corners = random.integers(0, highest + 1, (2, *shape))
        self._recipe, self._moment = recipe, (seed, epoch)
        self._batch_size, self._places = shape[1], places

    def sample(self, batch: int, sizes_B2: np.ndarray) -> AugmentParams:
        """Return the parameters of this process's part of a batch.

        Args:
            batch: its number in the epoch, from 0.
            sizes_B2: heights and widths of the images, which bound resized crops.
        """
        recipe, places = self._recipe, self._places
        found = {"flips_B": self._flips[batch, places]}
        if recipe.crop_area is None:
            found["corners_B2"] = np.ascontiguousarray(self._corners[:, batch, places].T)
        else:
            law, random = crop_law(recipe), np.random.default_rng((*self._moment, CROPS, batch))
            found["boxes_B4"] = law.fit(law.sample(self._batch_size, random)[places], sizes_B2)
        if any(strengths := _strengths(recipe)):
            random = np.random.default_rng((*self._moment, COLORS, batch))
            factors, orders = sample_colors(self._batch_size, strengths, random)
            found |= {"factors_B4": factors[places], "orders_B4": orders[places]}
        return AugmentParams(**{name: torch.from_numpy(values) for name, values in found.items()})


def augment(images_BHWC: Tensor, params: AugmentParams, recipe: ImageSettings) -> Tensor:
    """Augment a batch on its device.

    Args:
        images_BHWC: uint8, of one shape. May be overwritten.
        params: on the device of the images.

    Returns:
        uint8 BHWC at the model's input size.
    """
    if images_BHWC.device.type == "cpu":
        return augment_pictures(images_BHWC.numpy(), params, recipe, partial(torch.empty, dtype=torch.uint8))
    return augment_batch(images_BHWC, params, recipe)


def augment_batch(images_BHWC: Tensor, params: AugmentParams, recipe: ImageSettings) -> Tensor:
    """Augment as `augment` does on a GPU: the number of launches is that of one image, and nothing waits for them."""
    if params.corners_B2 is not None:
        assert params.flips_B is not None
        images_BHWC = crop_and_flip_batch(images_BHWC, recipe.pad_px, params.flips_B, params.corners_B2, recipe.size)
    elif params.boxes_B4 is not None:
        assert params.flips_B is not None
        images_BHWC = resized_crops_batch(images_BHWC, params.boxes_B4, params.flips_B, recipe.size)
    if params.factors_B4 is not None:
        assert params.orders_B4 is not None
        jitter_at_once(images_BHWC, _strengths(recipe), params.factors_B4, params.orders_B4)
    return images_BHWC


def augment_pictures(pictures: Pictures, params: AugmentParams, recipe: ImageSettings, allocate: Allocate) -> Tensor:
    """Augment images on the CPU, one by one, which is faster there than as a batch.

    Args:
        pictures: HWC each; only resized crops accept different sizes.
        params: on the CPU.
        allocate: returns the memory of the result.

    Returns:
        uint8 BHWC at the model's input size.
    """
    images_BHWC = allocate((len(pictures), *recipe.size, 3))
    if params.corners_B2 is not None:
        assert params.flips_B is not None
        flips_B, corners_B2 = params.flips_B.numpy(), params.corners_B2.numpy()
        crop_and_flip(pictures, recipe.pad_px, flips_B, corners_B2, images_BHWC.numpy())
    elif params.boxes_B4 is not None:
        assert params.flips_B is not None
        resized_crops(pictures, params.boxes_B4.numpy(), params.flips_B.numpy(), images_BHWC.numpy())
    else:
        np.copyto(images_BHWC.numpy(), pictures)
    if params.factors_B4 is not None:
        assert params.orders_B4 is not None
        jitter_one_by_one(images_BHWC, _strengths(recipe), params.factors_B4, params.orders_B4)
    return images_BHWC


def _strengths(recipe: ImageSettings) -> list[float]:
    return [getattr(recipe, key) for key in JITTERS]
