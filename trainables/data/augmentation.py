"""Crop, flip and color-jitter uint8 images on the CPU, with parameters drawn from seed, epoch and batch position.

B batch, H height, W width, C channels.
"""

import sys
import threading
from collections.abc import Sequence

import numpy as np
import torch
import torchvision.transforms.v2.functional as color

from shards_tools.decode import resize
from trainables.data.crops import crop_law
from trainables.recipes.images import JITTERS
from trainables.recipes.recipe import Recipe

GEOMETRY, CROPS, COLORS = 1, 2, 3  # keys of the random streams; the batch sampler has its own
ADJUST = (color.adjust_brightness, color.adjust_contrast, color.adjust_saturation, color.adjust_hue)
REFERENCES_OF_A_FREE_BUFFER = 3  # the list, the loop variable, and the argument of getrefcount


class Augmentation:
    """The augmentation of one epoch. It depends only on seed, epoch and the image's position in the epoch's batches."""

    def __init__(self, recipe: Recipe, shape: tuple[int, ...], places: slice, *, seed: int, epoch: int) -> None:
        random = np.random.default_rng((seed, epoch, GEOMETRY))
        self._flips = random.random(shape) < recipe.flip_probability
        highest = 2 * recipe.pad_px + recipe.enlarge_px
        self._tops, self._lefts = random.integers(0, highest + 1, (2, *shape))
        self._recipe, self._moment = recipe, (seed, epoch)
        self._batch_size, self._places = shape[1], places
        self._buffers = BufferPool()

    def __call__(self, images: np.ndarray | Sequence[np.ndarray], batch: int) -> np.ndarray:
        """Augment this process's part of a batch.

        Args:
            images: HWC each. All are image_size + enlarge_px high and wide; with `crop_area` they may have any size.
            batch: number of the batch in the epoch, from 0.

        Returns:
            uint8 BHWC at the model's input size. The buffer may be reused for a later batch.
        """
        recipe, places = self._recipe, self._places
        flips_B = self._flips[batch, places]
        if recipe.crop_area is None:
            size, tops_B, lefts_B = recipe.image_size, self._tops[batch, places], self._lefts[batch, places]
            buffer_BHWC = self._buffers.take((len(images), size, size, 3))
            images_BHWC = crop_and_flip(images, recipe.pad_px, flips_B, tops_B, lefts_B, buffer_BHWC)
        else:
            random = np.random.default_rng((*self._moment, CROPS, batch))
            law = crop_law(recipe)
            params = law.sample(self._batch_size, random)[places]
            boxes_B4 = law.fit(params, np.array([image.shape[:2] for image in images]))
            images_BHWC = resized_crops(images, boxes_B4, flips_B, recipe.image_size)
        if any(strengths := [getattr(recipe, key) for key in JITTERS]):
            random = np.random.default_rng((*self._moment, COLORS, batch))
            factors, orders = draw_colors(self._batch_size, strengths, random)
            jitter_colors(images_BHWC, strengths, factors[places], orders[places])
        return images_BHWC


class BufferPool:
    """uint8 arrays that are handed out again once nothing refers to them, including tensors and views.

    Allocating the memory of a batch costs a fifth of the batch's time, and slows down all trials.
    """

    def __init__(self) -> None:
        self._buffers: list[np.ndarray] = []
        self._lock = threading.Lock()  # threads prepare batches

    def take(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return an array of this shape with arbitrary content."""
        with self._lock:
            for buffer in self._buffers:
                if buffer.shape == shape and sys.getrefcount(buffer) == REFERENCES_OF_A_FREE_BUFFER:
                    return buffer
            self._buffers.append(np.empty(shape, np.uint8))
            return self._buffers[-1]


def crop_and_flip(
    images: np.ndarray | Sequence[np.ndarray],
    pad_px: int,
    flips_B: np.ndarray,
    tops_B: np.ndarray,
    lefts_B: np.ndarray,
    cut_BHWC: np.ndarray,
) -> np.ndarray:
    """Flip the images whose flip is set, then crop each from the image with a zero border of `pad_px` at top and left.

    The border is never allocated: the part of a crop inside the image is copied and the rest is set to zero.

    Args:
        images: HWC each, all of the same size.
        tops_B: first row of each crop, counted from the border's top; `lefts_B` likewise.
        cut_BHWC: the crops are written here; its height and width are those of the crops.

    Returns:
        `cut_BHWC`.
    """
    height, width = images[0].shape[:2]
    for image, (flip, top, left) in enumerate(zip(flips_B, tops_B - pad_px, lefts_B - pad_px, strict=True)):
        rows, place_rows = _overlap(int(top), cut_BHWC.shape[1], height)
        columns, place_columns = _overlap(int(left), cut_BHWC.shape[2], width)
        target_HWC = cut_BHWC[image]
        target_HWC[: place_rows.start] = target_HWC[place_rows.stop :] = 0
        target_HWC[:, : place_columns.start] = target_HWC[:, place_columns.stop :] = 0
        if flip:
            columns = slice(width - columns.stop, width - columns.start)
        source_HWC = images[image][rows, columns]
        target_HWC[place_rows, place_columns] = _mirrored(source_HWC) if flip else source_HWC
    return cut_BHWC


def resized_crops(
    images: np.ndarray | Sequence[np.ndarray], boxes_B4: np.ndarray, flips_B: np.ndarray, size: int
) -> np.ndarray:
    """Resize the box of each image to `size` px (bilinear, antialiased) and flip it where its flip is set.

    Args:
        boxes_B4: top, left, height and width in px.

    Returns:
        uint8 BHWC.
    """
    cut_BHWC = np.empty((len(images), size, size, 3), np.uint8)
    for place, (image, (top, left, height, width), flip) in enumerate(zip(images, boxes_B4, flips_B, strict=True)):
        cut_BHWC[place] = resize(image[top : top + height, left : left + width], size, size)
        if flip:
            cut_BHWC[place] = _mirrored(cut_BHWC[place])
    return cut_BHWC


def draw_colors(
    num_images: int, strengths: Sequence[float], random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Sample factors of brightness, contrast, saturation and hue, and the order in which they are applied.

    Args:
        strengths: of the four, as in torchvision's ColorJitter; 0 turns one off.

    Returns:
        Factors and orders, [B, 4] each.
    """
    middles = np.array([1.0, 1.0, 1.0, 0.0])
    lowest = np.maximum(middles - strengths, [0.0, 0.0, 0.0, -0.5])
    factors = random.uniform(lowest, middles + strengths, (num_images, len(ADJUST)))
    orders = random.permuted(np.tile(np.arange(len(ADJUST)), (num_images, 1)), axis=1)
    return factors, orders


def jitter_colors(
    images_BHWC: np.ndarray, strengths: Sequence[float], factors_B4: np.ndarray, orders_B4: np.ndarray
) -> None:
    """Apply torchvision's ColorJitter to uint8 images in place.

    Args:
        images_BHWC: RGB.
        strengths: of brightness, contrast, saturation and hue; a kind with strength 0 is skipped.
        factors_B4: from `draw_colors`, in the order of `strengths`.
        orders_B4: from `draw_colors`: the kinds in the order in which they are applied, as positions in `strengths`.
    """
    for image_CHW, factor, order in zip(
        torch.from_numpy(images_BHWC).permute(0, 3, 1, 2), factors_B4, orders_B4, strict=True
    ):
        changed = image_CHW
        for kind in order:
            if strengths[kind] > 0:
                changed = ADJUST[kind](changed, float(factor[kind]))
        image_CHW.copy_(changed)


def _overlap(start: int, length: int, size: int) -> tuple[slice, slice]:
    """Intersect a crop, which may begin or end outside 0..size, with the image.

    Returns:
        The crop's part inside the image, in coordinates of the image and in coordinates of the crop.
    """
    first, last = min(max(start, 0), size), min(max(start + length, 0), size)
    return slice(first, last), slice(first - start, last - start)


def _mirrored(image_HWC: np.ndarray) -> np.ndarray:
    # torch vectorizes flips of bytes and numpy's copy from a reversed view does not: 4 times as fast per batch. torch
    # needs writable memory; the copy of one image stays in the CPU cache.
    writeable_HWC = image_HWC if image_HWC.flags.writeable else image_HWC.copy()
    return torch.flip(torch.from_numpy(writeable_HWC), (1,)).numpy()
