"""What is done to uint8 images before the device: crops, flips and colours, with parameters drawn from their place.

B batch, H W pixels, C channels.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torchvision.transforms.v2.functional as colour

from shards_tools.decode import resize
from trainables.recipes.recipe import Recipe
from trainables.rooms import Rooms

GEOMETRY, CROPS, COLOURS = 1, 2, 3  # name their random streams beside the plan's
MAX_TRIES = 10  # of a resized crop, before its fallback
ADJUST = (colour.adjust_brightness, colour.adjust_contrast, colour.adjust_saturation, colour.adjust_hue)


class Augmentation:
    """The augmentation of one epoch: what befalls an image is up to seed, epoch and its place in the plan alone."""

    def __init__(self, recipe: Recipe, plan_shape: tuple[int, ...], places: slice, *, seed: int, epoch: int) -> None:
        random = np.random.default_rng((seed, epoch, GEOMETRY))
        self._flips = random.random(plan_shape) < recipe.flip_probability
        highest = 2 * recipe.pad_px + recipe.enlarge_px
        self._tops, self._lefts = random.integers(0, highest + 1, (2, *plan_shape))
        self._recipe, self._moment = recipe, (seed, epoch)
        self._batch_size, self._places = plan_shape[1], places
        self._rooms = Rooms()

    def __call__(self, images: np.ndarray | Sequence[np.ndarray], batch: int) -> np.ndarray:
        """The images at this process's places of batch number `batch` of the plan, uint8 BHWC, as the model gets them.

        Args:
            images: HWC each, all image_size + enlarge_px high and wide or, with crop_area, of any size.
        """
        recipe, places = self._recipe, self._places
        flips_B = self._flips[batch, places]
        if recipe.crop_area is None:
            size, tops_B, lefts_B = recipe.image_size, self._tops[batch, places], self._lefts[batch, places]
            room_BHWC = self._rooms.take((len(images), size, size, 3))
            images_BHWC = crop_and_flip(images, recipe.pad_px, flips_B, tops_B, lefts_B, room_BHWC)
        else:
            random = np.random.default_rng((*self._moment, CROPS, batch))
            crops = draw_crops(self._batch_size, recipe.crop_area, recipe.crop_aspect, random)[places]
            boxes_B4 = fit_boxes(crops, np.array([image.shape[:2] for image in images]), recipe.crop_aspect)
            images_BHWC = resized_crops(images, boxes_B4, flips_B, recipe.image_size)
        if any(strengths := _colour_strengths(recipe)):
            random = np.random.default_rng((*self._moment, COLOURS, batch))
            factors, orders = draw_colours(self._batch_size, strengths, random)
            jitter_colours(images_BHWC, strengths, factors[places], orders[places])
        return images_BHWC


def crop_and_flip(
    images: np.ndarray | Sequence[np.ndarray],
    pad_px: int,
    flips_B: np.ndarray,
    tops_B: np.ndarray,
    lefts_B: np.ndarray,
    cut_BHWC: np.ndarray,
) -> np.ndarray:
    """Each image mirrored where its flip is set, then cut from a zero border of `pad_px` at its top and left.

    The border is never made: what of the cut lies in the image is copied, and the rest is set to zero.

    Args:
        cut_BHWC: where the cuts are written; their height and width.
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


def draw_crops(
    num_images: int, area: tuple[float, float], aspect: tuple[float, float], random: np.random.Generator
) -> np.ndarray:
    """What a resized crop of each image is drawn by, whatever its size: [B, MAX_TRIES + 1, 2].

    Of each try the fraction of the area, between these, and the ratio of width to height, log-uniform between these;
    last where the crop lies, as fractions of the room that it has.
    """
    fractions = random.uniform(*area, (num_images, MAX_TRIES))
    ratios = np.exp(random.uniform(math.log(aspect[0]), math.log(aspect[1]), (num_images, MAX_TRIES)))
    places = random.random((num_images, 1, 2))
    return np.concatenate([np.stack([fractions, ratios], axis=2), places], axis=1)


def fit_boxes(crops: np.ndarray, sizes: np.ndarray, aspect: tuple[float, float]) -> np.ndarray:
    """Top, left, height and width in px of the crops, int64 [B, 4], in images of these sizes, height and width.

    The law of torchvision's RandomResizedCrop: of ten tries the first that fits, else the largest crop in the middle
    with a ratio that is allowed.
    """
    fractions, ratios, places = crops[:, :-1, 0], crops[:, :-1, 1], crops[:, -1]
    areas = fractions * sizes.prod(axis=1, keepdims=True)
    widths, heights = np.rint(np.sqrt(areas * ratios)), np.rint(np.sqrt(areas / ratios))
    fits = (heights > 0) & (heights <= sizes[:, :1]) & (widths > 0) & (widths <= sizes[:, 1:])
    first = np.arange(len(sizes)), fits.argmax(axis=1)
    extents = np.stack([heights[first], widths[first]], axis=1)
    boxes = np.concatenate([np.floor(places * (sizes - extents + 1)), extents], axis=1).astype(np.int64)
    for image in np.flatnonzero(~fits.any(axis=1)):
        boxes[image] = _middle_box(int(sizes[image, 0]), int(sizes[image, 1]), aspect)
    return boxes


def resized_crops(
    images: np.ndarray | Sequence[np.ndarray], boxes_B4: np.ndarray, flips_B: np.ndarray, size: int
) -> np.ndarray:
    """The box of each image at `size` px, bilinear and antialiased, then mirrored where its flip is set; BHWC."""
    cut_BHWC = np.empty((len(images), size, size, 3), np.uint8)
    for place, (image, (top, left, height, width), flip) in enumerate(zip(images, boxes_B4, flips_B, strict=True)):
        cut_BHWC[place] = resize(image[top : top + height, left : left + width], size, size)
        if flip:
            cut_BHWC[place] = _mirrored(cut_BHWC[place])
    return cut_BHWC


def draw_colours(
    num_images: int, strengths: Sequence[float], random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The factor of brightness, contrast, saturation and hue for each image, and the order of the four, [B, 4] each.

    Args:
        strengths: of the four, as torchvision's ColorJitter has them; 0 leaves one as it is.
    """
    middles = np.array([1.0, 1.0, 1.0, 0.0])
    lowest = np.maximum(middles - strengths, [0.0, 0.0, 0.0, -0.5])
    factors = random.uniform(lowest, middles + strengths, (num_images, len(ADJUST)))
    orders = random.permuted(np.tile(np.arange(len(ADJUST)), (num_images, 1)), axis=1)
    return factors, orders


def jitter_colours(
    images_BHWC: np.ndarray, strengths: Sequence[float], factors_B4: np.ndarray, orders_B4: np.ndarray
) -> None:
    """Change the images in place by what `draw_colours` drew: torchvision's ColorJitter on uint8."""
    for image_CHW, factor, order in zip(
        torch.from_numpy(images_BHWC).permute(0, 3, 1, 2), factors_B4, orders_B4, strict=True
    ):
        changed = image_CHW
        for kind in order:
            if strengths[kind] > 0:
                changed = ADJUST[kind](changed, float(factor[kind]))
        image_CHW.copy_(changed)


def _colour_strengths(recipe: Recipe) -> tuple[float, ...]:
    return recipe.jitter_brightness, recipe.jitter_contrast, recipe.jitter_saturation, recipe.jitter_hue


def _overlap(start: int, length: int, size: int) -> tuple[slice, slice]:
    """Of a cut that may begin or end outside 0..size: its part inside, and where that stands in the cut."""
    first, last = min(max(start, 0), size), min(max(start + length, 0), size)
    return slice(first, last), slice(first - start, last - start)


def _mirrored(image_HWC: np.ndarray) -> np.ndarray:
    # torch's flip of bytes is vectorised, numpy's copy from a reversed view is not: 4 times as fast per batch. It takes
    # no read-only memory; the copy of one image stays in the processor's cache.
    writeable_HWC = image_HWC if image_HWC.flags.writeable else image_HWC.copy()
    return torch.flip(torch.from_numpy(writeable_HWC), (1,)).numpy()


def _middle_box(height: int, width: int, aspect: tuple[float, float]) -> tuple[int, int, int, int]:
    ratio = min(max(width / height, aspect[0]), aspect[1])
    crop_height, crop_width = min(height, round(width / ratio)), min(width, round(height * ratio))
    return (height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width
