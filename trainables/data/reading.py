"""Open the images of a manifest as a recipe needs them: for evaluation, and for training before augmentation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from shards_tools.errors import Error
from shards_tools.images import Images, NativeImages, auto_reading, decoded_fits, native_images, one_shape, open_images
from shards_tools.manifest import Manifest
from trainables.data.text import evaluated_words, read_words
from trainables.device import Device
from trainables.distributed import DistributedContext
from trainables.recipes.images import ImageSettings, Size
from trainables.recipes.recipe import Recipe

TrainingImages = Images | NativeImages
Pictures = np.ndarray | Sequence[np.ndarray]  # BHWC, or HWC each


class ImagesAt(Protocol):
    """Images at one size, to evaluate on."""

    reading: str

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """[n] -> [n, H, W, C]."""


class MiddleOf:
    """Center crops of other images, which are `read_px` high and wide."""

    def __init__(self, images: ImagesAt, size: Size, read_px: int) -> None:
        self._images, self.reading = images, images.reading
        starts = [(read_px - side) // 2 for side in size]
        self._rows, self._columns = (slice(start, start + side) for start, side in zip(starts, size, strict=True))

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """[n] -> [n, H, W, 3]."""
        return self._images[indices][:, self._rows, self._columns]


@dataclass(frozen=True)
class Inputs:
    """The evaluation inputs of a model: images and, if it reads tags, their words."""

    images: ImagesAt
    words: np.ndarray | None = None  # int64 [num_images, L]
    errors: Mapping[int, str] = field(default_factory=dict)  # of images that could not be read, once `at` tried to

    def at(self, indices: np.ndarray, device: Device) -> tuple[Tensor, Tensor | None]:
        """Return some of the images and words on a device, without waiting for the copies.

        Args:
            indices: of images of the manifest.

        Returns:
            Images, uint8 [n, H, W, C], and words, int64 [n, L], or None if the model reads no tags.
        """
        words_BL = None if self.words is None else device.upload(torch.from_numpy(self.words[indices]))
        return device.upload(torch.from_numpy(self.images[indices])), words_BL


def evaluation_inputs(
    recipe: Recipe, manifest: Manifest, vocabulary: Sequence[str], reading: str, *, threads: int = 1
) -> Inputs:
    """Return every image of the manifest as evaluation input of the recipe's model.

    Args:
        vocabulary: of tags; empty if the recipe reads none.
        reading: one of READINGS in shards_tools/images.py.
        threads: number of decoding threads.

    Raises:
        Error: the images cannot be read, or the shards lack the tags that the model needs.
    """
    images = as_evaluated(
        recipe, lambda height, width, fit: open_images(manifest, height, width, reading, fit=fit, threads=threads)
    )
    if not vocabulary:
        return Inputs(images)
    return Inputs(images, evaluated_words(read_words(recipe, manifest, vocabulary), recipe))


def as_evaluated(recipe: ImageSettings, at: Callable[[int, int, str], ImagesAt]) -> ImagesAt:
    """Return images as the recipe evaluates them: stretched to its size, or the center crop without distortion.

    Args:
        at: opens the images for height, width and fit.
    """
    size, read_px = recipe.size, recipe.evaluation_px
    return MiddleOf(at(read_px, read_px, "cover"), size, read_px) if read_px else at(*size, "stretch")


def training_images(recipe: Recipe, manifest: Manifest, reading: str, *, threads: int = 1) -> TrainingImages:
    """Return the images that the recipe's crops need: slightly enlarged, or at native size for resized crops.

    Args:
        recipe: sets the size and how images are resized to it.
        manifest: all of its images are opened.
        reading: one of READINGS in shards_tools/images.py.
        threads: number of decoding threads.

    Raises:
        Error: native sizes differ and `reading` is neither auto nor offset.
    """
    if recipe.crop_area is None:
        return open_images(manifest, *_enlarged(recipe), reading, fit=training_fit(recipe), threads=threads)
    shape = one_shape(manifest)
    if shape is not None:
        return open_images(manifest, *shape, reading, threads=threads)
    if reading not in ("auto", "offset"):
        raise Error(
            f"{recipe.name}: `crop_area={recipe.crop_area}` reads images at their native sizes, and those of"
            f" {manifest.store} differ, which rules out `reading={reading}`. Use --reading offset."
        )
    return native_images(manifest, threads=threads)


def training_fit(recipe: ImageSettings) -> str:
    """Return the entry of FITS by which training images are resized."""
    return "bicubic" if recipe.train_resize == "bicubic" else "stretch"


def agreed_reading(
    recipe: Recipe, manifest: Manifest, reading: str, ranks: DistributedContext, device: torch.device | str
) -> str:
    """Agree on one reading for all ranks, because streams have their own batch order.

    Args:
        recipe: sets the sizes of the images.
        manifest: the images to read.
        reading: one of READINGS in shards_tools/images.py, the same on all ranks.
        ranks: every one of them must make this call.
        device: where they exchange tensors.

    Returns:
        `stream` if `reading` is `auto` and any rank's machine needs a stream, else `reading`.
    """
    if reading != "auto" or ranks.world == 1:
        return reading
    streams = any(auto_reading(manifest, *shape) == "stream" for shape in _shapes(recipe, manifest))
    return "stream" if ranks.gather(torch.tensor([streams], device=device), ranks.world).any() else reading


def decoded_bytes(recipe: Recipe, manifest: Manifest, reading: str) -> int:
    """Return the bytes of the decoded images that a training maps and shares; 0 if it decodes on demand."""
    return sum(
        manifest.num_images * height * width * 3 for height, width, _ in decoded_shapes(recipe, manifest, reading)
    )


def decoded_shapes(recipe: Recipe, manifest: Manifest, reading: str) -> set[tuple[int, int, str]]:
    """Return height, width and fit of the decoded images that a training maps; none if it decodes on demand."""
    shapes = _shapes(recipe, manifest)
    fits = bool(shapes) and reading == "auto" and all(decoded_fits(manifest, *shape) for shape in shapes)
    return shapes if reading == "decoded" or fits else set()


def _shapes(recipe: Recipe, manifest: Manifest) -> set[tuple[int, int, str]]:
    """Return height, width and fit of the images that a training opens; none if it reads native sizes."""
    trained = _enlarged(recipe) if recipe.crop_area is None else one_shape(manifest)
    if trained is None:
        return set()
    read_px = recipe.evaluation_px
    evaluated = (read_px, read_px, "cover") if read_px else (*recipe.size, "stretch")
    return {(*trained, training_fit(recipe)), evaluated}


def _enlarged(recipe: ImageSettings) -> tuple[int, int]:
    """Return height and width at which training images are read."""
    return recipe.size.height + recipe.enlarge_px, recipe.size.width + recipe.enlarge_px
