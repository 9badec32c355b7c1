"""Batches of an epoch: images in the order of a plan, as uint8, augmented, from seed and epoch alone.

B batch, H W pixels, C channels.
"""

import operator
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from shards_tools.errors import Error
from shards_tools.images import DecodedImages
from shards_tools.plans import PLANS
from shards_tools.plans.draw import Draw
from shards_tools.plans.ranks import places_of_rank
from shards_tools.plans.stream import LAWS, stream_batches
from shards_tools.streaming.images import StreamedImages
from shards_tools.threads import in_order
from trainables.augmentation import Augmentation
from trainables.reading import Pictures, TrainingImages
from trainables.recipes.animesion import AnimesionRecipe
from trainables.recipes.recipe import Recipe
from trainables.text import HIDDEN_STREAM, hide


@dataclass(frozen=True)
class Batch:
    """What a step is made from, or a rank's part of it."""

    images: Tensor  # uint8 BHWC
    labels: Tensor  # int64 B, the works' numbers
    words: Tensor | None = None  # int64 B x text length, some hidden; None: the recipe reads no tags
    asked: Tensor | None = None  # the hidden ones, -100 elsewhere

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        return self._each(lambda part: part.to(device))

    def split(self, size: int) -> list["Batch"]:
        """Pieces of so many images, the last one maybe smaller."""
        pieces = [slice(start, start + size) for start in range(0, len(self.labels), size)]
        return [self._each(operator.itemgetter(piece)) for piece in pieces]

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        words, asked = (None if part is None else change(part) for part in (self.words, self.asked))
        return Batch(change(self.images), change(self.labels), words, asked)


@dataclass(frozen=True)
class TrainingSet:
    """The images of one split that are trained on."""

    images: TrainingImages | np.ndarray  # all images of the manifest, as reading.py opens them
    indices: np.ndarray  # which of them are trained on
    labels: np.ndarray  # their works, numbered 0..N-1, one per index
    roles: np.ndarray  # their roles, one per index
    words: np.ndarray | None = None  # of every image of the manifest, int64 [num_images, L]
    num_words: int = 0  # of the vocabulary


class EpochBatches:
    """The batches of an epoch, or a rank's part of each.

    Args:
        epoch: counted from 1.
        rank: of `world` that share every batch. No environment variable counts.
    """

    def __init__(
        self, data: TrainingSet, recipe: Recipe, *, seed: int, epoch: int, rank: int = 0, world: int = 1
    ) -> None:
        self._plan = _plan(data, recipe, seed=seed, epoch=epoch, world=world)
        self.batch_size = self._plan.shape[1]  # of all ranks together
        if world > self.batch_size:
            size = self.batch_size
            raise Error(f"{recipe.name}: {world} ranks cannot share batches of {size} images. Take fewer ranks.")
        self._places = places_of_rank(self.batch_size, rank, world)
        self._augment = Augmentation(recipe, self._plan.shape, self._places, seed=seed, epoch=epoch)
        self._data, self._recipe, self._moment = data, recipe, (seed, epoch)

    def __len__(self) -> int:
        return len(self._plan)

    def start(self, first: int = 0, workers: int = 1) -> Generator[Batch]:
        """Batches from number `first` on, made ahead while others are used.

        Args:
            workers: threads that make batches; 0 makes each when it is asked for. The batches are the same.
        """
        own = self._plan[first:, self._places]
        with closing(_reads(self._data.images, self._data.indices[own])) as reads:
            of_batches = zip(range(first, len(self)), reads, strict=True)
            yield from in_order((partial(self._make, *of_batch) for of_batch in of_batches), workers)

    def _make(self, number: int, read: Callable[[], Pictures]) -> Batch:
        labels_B = torch.from_numpy(self._data.labels[self._plan[number, self._places]])
        return Batch(torch.from_numpy(self._augment(read(), number)), labels_B, *self._words(number))

    def _words(self, number: int) -> tuple[Tensor, Tensor] | tuple[()]:
        """The words of this rank's part of a batch, some hidden, and those that are; drawn for the whole batch."""
        if self._data.words is None:
            return ()
        seed, epoch = self._moment
        assert isinstance(self._recipe, AnimesionRecipe)
        progress = (epoch - 1 + number / len(self)) / self._recipe.epochs
        words_BL = self._data.words[self._data.indices[self._plan[number]]]
        random = np.random.default_rng((seed, epoch, HIDDEN_STREAM, number))
        words_BL, asked_BL = hide(words_BL, self._recipe, progress, self._data.num_words, random)
        return torch.from_numpy(words_BL[self._places]), torch.from_numpy(asked_BL[self._places])


def _plan(data: TrainingSet, recipe: Recipe, *, seed: int, epoch: int, world: int) -> np.ndarray:
    """The epoch's plan; that of a stream goes through the shards in an order that reads each once."""
    draw = _draw(data.labels, recipe, seed, epoch)
    if not (isinstance(data.images, StreamedImages) and recipe.plan in LAWS):
        return PLANS[recipe.plan](data.labels, data.roles, draw)
    if draw.works_per_batch % world:
        raise Error(
            f"{recipe.name}: {world} ranks that stream cannot share batches of {draw.works_per_batch} works. Take a"
            " number of ranks that divides it, or reading decoded or offset."
        )
    shard, offset = data.images.places(data.indices)
    of_rank = replace(draw, works_per_batch=draw.works_per_batch // world)
    rows = stream_batches(recipe.plan, data.labels, data.roles, of_rank, shard=shard, offset=offset, world=world)
    return rows.reshape(-1, draw.batch_size)  # each rank's row beside those of the others


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
    works_per_batch, images_per_work = recipe.batch_shape(num_works)
    return Draw(
        works_per_batch=works_per_batch,
        images_per_work=images_per_work,
        seed=seed,
        epoch=epoch - 1,  # plans count from 0
        images_per_epoch=recipe.images_per_epoch,
    )
