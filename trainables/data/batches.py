"""Batches of an epoch: uint8 images in the batch sampler's order and their augmentation, from seed and epoch.

B batch, H height, W width, C channels, L text length.
"""

import operator
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from shards_tools.batch_samplers import BATCH_SAMPLERS
from shards_tools.batch_samplers.epochs import EpochParams, places_of_rank
from shards_tools.batch_samplers.stream import LAWS, stream_batches
from shards_tools.errors import Error
from shards_tools.images import DecodedImages, OffsetImages
from shards_tools.parallel import in_order
from shards_tools.streaming.images import StreamedImages
from trainables.data.augmentation import Allocate, Augmentation, AugmentParams, augment, augment_pictures
from trainables.data.reading import Pictures, TrainingImages
from trainables.data.text import HIDDEN_STREAM, hide
from trainables.device import Device
from trainables.recipes.animesion import AnimesionRecipe
from trainables.recipes.recipe import Recipe

REFERENCES_OF_A_FREE_BUFFER = 3  # the list, the loop variable, and the argument of getrefcount


@dataclass(frozen=True)
class Batch:
    """The input of one training step, or a rank's part of it."""

    images: Tensor  # uint8 BHWC
    labels: Tensor  # int64 B, the numbers of the works
    words: Tensor | None = None  # int64 B x L, some masked; None: the recipe reads no tags
    asked: Tensor | None = None  # int64 B x L: the masked words, -100 elsewhere
    params: AugmentParams | None = None  # with which the device augments the images; None: they are augmented
    total: int | None = None  # images of the whole batch; None: these are all of them

    def to(self, device: Device) -> "Batch":
        """Return the batch on a device, without waiting for the copies."""
        return self._each(device.upload)

    def augmented(self, recipe: Recipe) -> "Batch":
        """Return the batch with images that are augmented on their device."""
        if self.params is None:
            return self
        return replace(self, images=augment(self.images, self.params, recipe), params=None)

    def split(self, size: int) -> list["Batch"]:
        """Return micro-batches of `size` images; the last may be smaller."""
        pieces = [slice(start, start + size) for start in range(0, len(self.labels), size)]
        return [self._each(operator.itemgetter(piece)) for piece in pieces]

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        words, asked = (None if part is None else change(part) for part in (self.words, self.asked))
        params = None if self.params is None else self.params.each(change)
        return Batch(change(self.images), change(self.labels), words, asked, params, self.total)


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

    def allocate(self, shape: tuple[int, ...]) -> Tensor:
        """Return a tensor of this shape with arbitrary content."""
        return torch.from_numpy(self.take(shape))


@dataclass(frozen=True)
class TrainingSet:
    """The images to train on, from one split."""

    images: TrainingImages | np.ndarray  # all images of the manifest, opened by reading.py
    indices: np.ndarray  # those to train on
    labels: np.ndarray  # the work of each index, 0..N-1
    roles: np.ndarray  # the role of each index
    words: np.ndarray | None = None  # of all images of the manifest, int64 [num_images, L]
    num_words: int = 0  # size of the vocabulary


class EpochBatches:
    """The batches of an epoch, or a rank's part of each.

    Args:
        epoch: counted from 1.
        rank: 0..world-1. Environment variables such as RANK are ignored.
        world: number of ranks that share every batch.
        augment_on: `loader` yields augmented images. `device` yields images as they were read, with the params that
            `augment` needs on the device; images of different sizes are cropped before, and only jittered there.
        allocate: returns memory for the images of a batch; the default reuses that of earlier batches.
        longest: returns the greatest of the numbers that all ranks call it with, for the ranks of a stream.

    Raises:
        Error: there are more ranks than images in a batch.
    """

    def __init__(
        self,
        data: TrainingSet,
        recipe: Recipe,
        *,
        seed: int,
        epoch: int,
        rank: int = 0,
        world: int = 1,
        augment_on: Literal["loader", "device"] = "loader",
        allocate: Allocate | None = None,
        longest: Callable[[int], int] = int,
    ) -> None:
        params = _epoch_params(data.labels, recipe, seed, epoch)
        self.batch_size = size = params.batch_size  # over all ranks
        if world > size:
            raise Error(f"{recipe.name}: {world} ranks cannot share batches of {size} images. Use fewer ranks.")
        self._places = places_of_rank(size, rank, world)
        if isinstance(data.images, StreamedImages) and recipe.batch_sampler in LAWS:
            self._own = _streamed(data, recipe, params, rank, world, longest)
        else:
            self._own = BATCH_SAMPLERS[recipe.batch_sampler](data.labels, data.roles, params)[:, self._places]
        self._augmentation = Augmentation(recipe, (len(self), size), self._places, seed=seed, epoch=epoch)
        self._augment_on, self._allocate = augment_on, allocate or BufferPool().allocate
        self._data, self._recipe, self._moment = data, recipe, (seed, epoch)

    def __len__(self) -> int:
        return len(self._own)

    def start(self, first: int = 0, workers: int = 1) -> Generator[Batch]:
        """Yield the batches from number `first` on, prepared ahead of use.

        Args:
            workers: threads that prepare batches; 0 prepares each when it is requested. The batches do not depend on
                it.
        """
        rows = self._data.indices[self._own[first:]]
        allocate = self._allocate if self._augment_on == "device" else None
        with closing(_reads(self._data.images, rows, allocate)) as reads:
            of_batches = zip(range(first, len(self)), reads, strict=True)
            yield from in_order((partial(self._make, *of_batch) for of_batch in of_batches), workers)

    def _make(self, number: int, read: Callable[[], Pictures | Tensor]) -> Batch:
        labels_B = torch.from_numpy(self._data.labels[self._own[number]])
        images_BHWC, params = self._images(number, read())
        return replace(Batch(images_BHWC, labels_B, *self._words(number)), params=params, total=self.batch_size)

    def _images(self, number: int, pictures: Pictures | Tensor) -> tuple[Tensor, AugmentParams | None]:
        """Return the images of a batch, and the parameters with which the device augments them."""
        arrays = pictures.numpy() if isinstance(pictures, Tensor) else pictures
        params = self._augmentation.sample(number, np.array([array.shape[:2] for array in arrays]))
        if self._augment_on == "loader":
            return augment_pictures(arrays, params, self._recipe, self._allocate), None
        if isinstance(pictures, Tensor):
            return pictures, params
        if isinstance(pictures, np.ndarray):
            images_BHWC = self._allocate(pictures.shape)
            np.copyto(images_BHWC.numpy(), pictures)
            return images_BHWC, params
        return augment_pictures(pictures, params.geometry(), self._recipe, self._allocate), params.colors()

    def _words(self, number: int) -> tuple[Tensor, Tensor] | tuple[()]:
        """Return the words of this rank's part of a batch with some masked, and the masked words.

        The masks are drawn for the whole batch, so they do not depend on the number of ranks.
        """
        if self._data.words is None:
            return ()
        seed, epoch = self._moment
        assert isinstance(self._recipe, AnimesionRecipe)
        progress = (epoch - 1 + number / len(self)) / self._recipe.epochs
        own_BL = self._data.words[self._data.indices[self._own[number]]]
        words_BL = np.zeros((self.batch_size, own_BL.shape[1]), own_BL.dtype)
        words_BL[self._places] = own_BL
        random = np.random.default_rng((seed, epoch, HIDDEN_STREAM, number))
        words_BL, asked_BL = hide(words_BL, self._recipe, progress, self._data.num_words, random)
        return torch.from_numpy(words_BL[self._places]), torch.from_numpy(asked_BL[self._places])


def _streamed(
    data: TrainingSet,
    recipe: Recipe,
    params: EpochParams,
    rank: int,
    world: int,
    longest: Callable[[int], int],
) -> np.ndarray:
    """Return a rank's part of the epoch's batches, [batches, images], in an order that reads each shard once."""
    assert isinstance(data.images, StreamedImages)
    if params.works_per_batch % world:
        raise Error(
            f"{recipe.name}: {world} ranks that stream cannot share batches of {params.works_per_batch} works. Use a"
            " number of ranks that divides it, or --reading decoded or offset."
        )
    shard, offset = data.images.places(data.indices)
    return stream_batches(
        recipe.batch_sampler,
        data.labels,
        data.roles,
        replace(params, works_per_batch=params.works_per_batch // world),
        shard=shard,
        offset=offset,
        rank=rank,
        world=world,
        longest=longest,
    )


def _reads(
    images: TrainingImages | np.ndarray, rows: np.ndarray, allocate: Allocate | None
) -> Generator[Callable[[], Pictures | Tensor]]:
    """Yield, for each row of indices, a function that reads its images in any thread.

    A stream reads its images here, in order; the function only returns them.

    Args:
        allocate: images of one size are written to the memory that it returns; None: any memory does.
    """
    if isinstance(images, DecodedImages | OffsetImages) and allocate is not None:
        yield from (partial(_gathered, images, row, allocate) for row in rows)
    elif isinstance(images, DecodedImages):
        yield from (partial(images.views, row) for row in rows)
    elif isinstance(images, StreamedImages):
        yield from (partial(np.asarray, images_BHWC) for images_BHWC in images.batches(rows))
    else:
        yield from (partial(images.__getitem__, row) for row in rows)


def _gathered(images: DecodedImages | OffsetImages, row: np.ndarray, allocate: Allocate) -> Tensor:
    images_BHWC = allocate((len(row), *images.shape))
    images.gather(row, images_BHWC.numpy())
    return images_BHWC


def _epoch_params(labels: np.ndarray, recipe: Recipe, seed: int, epoch: int) -> EpochParams:
    """Return the parameters of the batch sampler for this epoch."""
    num_works = int(labels.max()) + 1 if len(labels) else 0
    works_per_batch, images_per_work = recipe.batch_shape(num_works, len(labels))
    return EpochParams(
        works_per_batch=works_per_batch,
        images_per_work=images_per_work,
        seed=seed,
        epoch=epoch - 1,  # samplers count from 0
        images_per_epoch=recipe.images_per_epoch,
    )
