"""Random resized crops, as in torchvision and as in PaddleClas.

Both have two steps. `sample` draws the parameters of every image of a batch without knowing its size, so that they
depend only on seed, epoch and batch. `fit` turns them into boxes once the sizes are known.

B batch.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from trainables.recipes.images import ImageSettings

MAX_TRIES = 10  # as in torchvision, before it falls back to a center crop


@dataclass(frozen=True)
class CropLaw(ABC):
    """Samples the boxes of random resized crops.

    Args:
        area: lowest and highest fraction of the image's area.
        aspect: lowest and highest width / height.
    """

    area: tuple[float, float]
    aspect: tuple[float, float]

    @abstractmethod
    def sample(self, num_images: int, random: np.random.Generator) -> np.ndarray:
        """Draw the parameters of each image, [B, ...]."""

    @abstractmethod
    def fit(self, params: np.ndarray, sizes_B2: np.ndarray) -> np.ndarray:
        """Return top, left, height and width in px, int64 [B, 4], for images of these heights and widths."""


def crop_law(recipe: ImageSettings) -> CropLaw:
    """Return the crop of a recipe that sets `crop_area`."""
    assert recipe.crop_area is not None
    law = TorchvisionCrop if recipe.crop_law == "torchvision" else PaddleCrop
    return law(recipe.crop_area, recipe.crop_aspect)


class TorchvisionCrop(CropLaw):
    """torchvision's RandomResizedCrop: the first of ten tries that fits, else the largest allowed center crop.

    Areas are sampled uniformly, aspects log-uniformly.
    """

    def sample(self, num_images: int, random: np.random.Generator) -> np.ndarray:
        """Draw [B, MAX_TRIES + 1, 2]: area and aspect of each try, then the position as fractions of the free space."""
        fractions = random.uniform(*self.area, (num_images, MAX_TRIES))
        low, high = self.aspect
        aspects = np.exp(random.uniform(math.log(low), math.log(high), (num_images, MAX_TRIES)))
        positions = random.random((num_images, 1, 2))
        return np.concatenate([np.stack([fractions, aspects], axis=2), positions], axis=1)

    def fit(self, params: np.ndarray, sizes_B2: np.ndarray) -> np.ndarray:
        fractions, aspects, positions = params[:, :-1, 0], params[:, :-1, 1], params[:, -1]
        areas = fractions * sizes_B2.prod(axis=1, keepdims=True)
        widths, heights = np.rint(np.sqrt(areas * aspects)), np.rint(np.sqrt(areas / aspects))
        fits = (heights > 0) & (heights <= sizes_B2[:, :1]) & (widths > 0) & (widths <= sizes_B2[:, 1:])
        first = np.arange(len(sizes_B2)), fits.argmax(axis=1)
        boxes = _placed(np.stack([heights[first], widths[first]], axis=1), positions, sizes_B2)
        for image in np.flatnonzero(~fits.any(axis=1)):
            boxes[image] = self._middle(int(sizes_B2[image, 0]), int(sizes_B2[image, 1]))
        return boxes

    def _middle(self, height: int, width: int) -> tuple[int, int, int, int]:
        aspect = min(max(width / height, self.aspect[0]), self.aspect[1])
        crop_height, crop_width = min(height, round(width / aspect)), min(width, round(height * aspect))
        return (height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width


class PaddleCrop(CropLaw):
    """PaddleClas's RandCropImage: a uniform aspect, then a uniform area, bounded so that the crop always fits."""

    def sample(self, num_images: int, random: np.random.Generator) -> np.ndarray:
        """Draw [B, 4]: aspect, then area within its bounds, top and left as fractions of their ranges."""
        aspects = random.uniform(*self.aspect, (num_images, 1))
        return np.concatenate([aspects, random.random((num_images, 3))], axis=1)

    def fit(self, params: np.ndarray, sizes_B2: np.ndarray) -> np.ndarray:
        aspects, within, positions = params[:, 0], params[:, 1], params[:, 2:]
        shapes = sizes_B2[:, 1] / sizes_B2[:, 0]
        largest = np.minimum(shapes / aspects, aspects / shapes)
        low, high = (np.minimum(bound, largest) for bound in self.area)
        areas = sizes_B2.prod(axis=1) * (low + within * (high - low))
        extents = np.stack([np.sqrt(areas / aspects), np.sqrt(areas * aspects)], axis=1).astype(np.int64)
        return _placed(np.clip(extents, 1, sizes_B2), positions, sizes_B2)


def _placed(extents_B2: np.ndarray, positions_B2: np.ndarray, sizes_B2: np.ndarray) -> np.ndarray:
    """Place boxes of these heights and widths at these fractions of the space around them."""
    corners_B2 = np.floor(positions_B2 * (sizes_B2 - extents_B2 + 1))
    return np.concatenate([corners_B2, extents_B2], axis=1).astype(np.int64)
