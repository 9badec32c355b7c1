"""The images of a manifest as a recipe wants them: for evaluation, and for training before augmentation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from shards_tools.errors import Error
from shards_tools.images import Images, NativeImages, auto_reading, decoded_fits, one_shape, open_images
from shards_tools.manifest import Manifest
from shards_tools.stores.shard_cache import cached
from trainables.ranks import Ranks
from trainables.recipes.animesion import AnimesionRecipe
from trainables.recipes.images import ImageSettings
from trainables.recipes.recipe import Recipe
from trainables.text import evaluated_words, read_words

TrainingImages = Images | NativeImages
Pictures = np.ndarray | Sequence[np.ndarray]  # BHWC, or HWC each


class ImagesAt(Protocol):
    """What is evaluated: any images, at one size."""

    reading: str

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """[n] -> [n, H, W, C]."""


class MiddleOf:
    """The middle of other images, `size` px high and wide."""

    def __init__(self, images: ImagesAt, size: int, read_px: int) -> None:
        self._images, self.reading = images, images.reading
        start = (read_px - size) // 2
        self._middle = slice(start, start + size)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """[n] -> [n, size, size, 3]."""
        return self._images[indices][:, self._middle, self._middle]


@dataclass(frozen=True)
class Inputs:
    """What a model is evaluated with: images and, where it reads tags, their words."""

    images: ImagesAt
    words: np.ndarray | None = None  # int64 [num_images, L]

    def at(self, indices: np.ndarray, device: torch.device | str) -> tuple[Tensor, Tensor | None]:
        """Some of them on a device, as a model takes them."""
        words_BL = None if self.words is None else torch.from_numpy(self.words[indices]).to(device)
        return torch.from_numpy(self.images[indices]).to(device), words_BL


def evaluation_inputs(
    recipe: Recipe, manifest: Manifest, vocabulary: Sequence[str], reading: str, *, threads: int = 1
) -> Inputs:
    """Every image of the manifest as the recipe's model is evaluated with it."""
    images = evaluation_images(recipe, manifest, reading, threads=threads)
    if not vocabulary:
        return Inputs(images)
    assert isinstance(recipe, AnimesionRecipe)
    return Inputs(images, evaluated_words(read_words(recipe, manifest, vocabulary), recipe))


def evaluation_images(recipe: ImageSettings, manifest: Manifest, reading: str, *, threads: int = 1) -> ImagesAt:
    """Every image as it is evaluated: stretched to the recipe's size, or the middle of it at its own shape."""
    return as_evaluated(
        recipe, lambda height, width, fit: open_images(manifest, height, width, reading, fit=fit, threads=threads)
    )


def as_evaluated(recipe: ImageSettings, at: Callable[[int, int, str], ImagesAt]) -> ImagesAt:
    """Images as the recipe evaluates them, of those that `at` gives for height, width and fit."""
    size, read_px = recipe.image_size, recipe.evaluation_px
    return MiddleOf(at(read_px, read_px, "cover"), size, read_px) if read_px else at(size, size, "stretch")


def training_images(recipe: Recipe, manifest: Manifest, reading: str, *, threads: int = 1) -> TrainingImages:
    """The images as the recipe's crops want them: somewhat larger, or as they are where crops are resized."""
    if recipe.crop_area is None:
        size = recipe.image_size + recipe.enlarge_px
        return open_images(manifest, size, size, reading, fit=training_fit(recipe), threads=threads)
    shape = one_shape(manifest)
    if shape is not None:
        return open_images(manifest, *shape, reading, threads=threads)
    if reading not in ("auto", "offset"):
        raise Error(
            f"{recipe.name}: crop_area={recipe.crop_area} reads images at the sizes they have, and those of"
            f" {manifest.store} differ: reading={reading} does not do. Take reading offset."
        )
    return NativeImages(cached(manifest), threads=threads)


def training_fit(recipe: ImageSettings) -> str:
    """Return which of FITS training images are resized by."""
    return "bicubic" if recipe.train_resize == "bicubic" else "stretch"


def agreed_reading(recipe: Recipe, manifest: Manifest, reading: str, ranks: Ranks, device: torch.device | str) -> str:
    """`stream` for all ranks where the machine of one would: a stream's batches come in an order of their own."""
    if reading != "auto" or ranks.world == 1:
        return reading
    streams = any(auto_reading(manifest, *shape) == "stream" for shape in _shapes(recipe, manifest))
    return "stream" if ranks.gather(torch.tensor([streams], device=device)).any() else reading


def decoded_bytes(recipe: Recipe, manifest: Manifest, reading: str) -> int:
    """Bytes of the decoded images that a training maps and shares with others; 0: it decodes each when it is asked."""
    shapes = _shapes(recipe, manifest)
    fits = bool(shapes) and reading == "auto" and all(decoded_fits(manifest, *shape) for shape in shapes)
    if reading != "decoded" and not fits:
        return 0
    return sum(manifest.num_images * height * width * 3 for height, width, _ in shapes)


def _shapes(recipe: Recipe, manifest: Manifest) -> set[tuple[int, int, str]]:
    """Height, width and fit of the images that a training opens; none where it reads them at the sizes they have."""
    size = recipe.image_size + recipe.enlarge_px
    trained = (size, size) if recipe.crop_area is None else one_shape(manifest)
    if trained is None:
        return set()
    evaluated_px, fit = recipe.evaluation_px or recipe.image_size, "cover" if recipe.evaluation_px else "stretch"
    return {(*trained, training_fit(recipe)), (evaluated_px, evaluated_px, fit)}
