"""The resources and state of a training, and their initialization."""

import dataclasses
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from timm.utils import ModelEmaV3
from torch import nn

from shards_tools.images import Images, NativeImages
from shards_tools.manifest import Manifest
from trainables.data.batches import EpochBatches, TrainingSet
from trainables.data.reading import (
    Inputs,
    MiddleOf,
    TrainingImages,
    agreed_reading,
    evaluation_inputs,
    training_images,
)
from trainables.data.text import make_vocabulary, read_words
from trainables.device import Device
from trainables.distributed import ALONE, DistributedContext
from trainables.evaluation.evaluate import BatchSize, first_batch_size
from trainables.evaluation.evaluation import Evaluation
from trainables.losses.criterion import Criterion
from trainables.models import build_model
from trainables.models.model import Model
from trainables.recipes.recipe import Recipe
from trainables.training.checkpoint_info import refuse_seen_images
from trainables.training.loss_reader import LossReader
from trainables.training.optimizer import build_optimizer
from trainables.training.progress import Progress
from trainables.training.step import Step
from trainables.training.transfer import load_teacher, start_from_checkpoint


@dataclass(kw_only=True)
class TrainState:
    """The resources and state of one training."""

    recipe: Recipe
    manifest: Manifest
    fold: int
    seed: int
    device: Device
    ranks: DistributedContext
    data: TrainingSet
    reading: str  # how images are read; see shards_tools/images.py
    evaluation: Evaluation  # on val
    inputs: Inputs  # evaluation inputs of every image of the manifest
    works: np.ndarray  # ids of the trained works, ascending; the labels of `data` index it
    vocabulary: tuple[str, ...]  # of tags; empty if the recipe reads none
    model: Model
    criterion: Criterion
    optimizer: torch.optim.Optimizer
    step: Step
    averaged: ModelEmaV3 | None  # running mean of the weights, if the recipe sets one
    evaluation_batch_size: BatchSize
    ms_per_image: float | None = None  # measured after the first epoch of this start
    progress: Progress = field(default_factory=Progress)  # of the current epoch
    keep: Callable[[Progress, LossReader], None] = lambda progress, losses: None  # called after every batch

    @property
    def evaluated_model(self) -> Model:
        """The model whose weights are evaluated and saved."""
        if self.averaged is None:
            return self.model
        assert isinstance(self.averaged.module, Model)
        return self.averaged.module


def prepare(
    recipe: Recipe,
    manifest: Manifest,
    *,
    fold: int,
    seed: int,
    device: Device | None = None,
    fresh: bool = True,
    reading: str = "auto",
    ranks: DistributedContext = ALONE,
) -> TrainState:
    """Return a training before its first epoch; without `fresh`, a checkpoint will replace the pretrained weights.

    Args:
        device: None selects the GPU if there is one, else the CPU.
        reading: one of READINGS in shards_tools/images.py.

    Raises:
        Error: the data do not fit the recipe, or weights cannot be read.
    """
    train = manifest.split(fold).train
    works, labels = np.unique(manifest.work[train], return_inverse=True)
    recipe.batch_shape(len(works), len(labels))  # rejects data too small for a batch before anything is decoded
    if fresh:
        refuse_seen_images(recipe, manifest, fold)
    device = device or Device()
    where = device.torch_device
    device.configure(recipe.precision)
    vocabulary = make_vocabulary(recipe, manifest, train)
    seed_everything(seed, 0)
    names = [manifest.works[work] for work in works]
    model = _placed(_first_model(recipe, names, len(vocabulary), fresh=fresh), recipe, where, ranks)
    width, num_branches = int(model.backbone.width), int(model.backbone.num_branches)  # type: ignore[arg-type]
    criterion = Criterion(recipe, len(works), width, num_branches).to(where)
    optimizer = build_optimizer(model, recipe, criterion)
    step = Step(recipe, model, criterion, optimizer, ranks, load_teacher(recipe, names, where), device)
    reading = agreed_reading(recipe, manifest, reading, ranks, where)
    inputs = evaluation_inputs(recipe, manifest, vocabulary, reading, threads=torch.get_num_threads())
    trained = _trained_images(recipe, manifest, inputs, reading)
    words = read_words(recipe, manifest, vocabulary) if vocabulary else None
    return TrainState(
        recipe=recipe,
        manifest=manifest,
        fold=fold,
        seed=seed,
        device=device,
        ranks=ranks,
        reading=trained.reading,
        data=TrainingSet(trained, train, labels.astype(np.int64), manifest.role[train], words, len(vocabulary)),
        evaluation=Evaluation(manifest, "val", fold),
        evaluation_batch_size=first_batch_size(device),
        inputs=inputs,
        works=works,
        vocabulary=vocabulary,
        model=model,
        criterion=criterion,
        optimizer=optimizer,
        step=step,
        averaged=None if recipe.ema_decay is None else ModelEmaV3(model, decay=recipe.ema_decay),
    )


def _trained_images(recipe: Recipe, manifest: Manifest, inputs: Inputs, reading: str) -> TrainingImages:
    """Open the images to train on; those of the evaluation serve both if their pixels are the same."""
    same = not recipe.trained_on_other_pixels and not isinstance(inputs.images, MiddleOf)
    threads = torch.get_num_threads()
    trained = inputs.images if same else training_images(recipe, manifest, reading, threads=threads)
    assert isinstance(trained, Images | NativeImages)
    return trained


def epoch_batches(training: TrainState, epoch: int, ranks: DistributedContext) -> EpochBatches:
    """Return the batches of an epoch, counted from 1; a GPU augments them itself."""
    device = training.device
    return EpochBatches(
        training.data,
        training.recipe,
        seed=training.seed,
        epoch=epoch,
        rank=ranks.rank,
        world=ranks.world,
        augment_on="device" if device.is_gpu else "loader",
        allocate=device.allocate if device.is_gpu else None,
        longest=partial(training.ranks.greatest, device=device.torch_device),
    )


def _first_model(recipe: Recipe, works: list[str], num_words: int, *, fresh: bool) -> Model:
    """Return a model with the recipe's initial weights."""
    bare = dataclasses.replace(recipe, pretrained=False, weights_file=None)
    if not fresh:
        return build_model(bare, len(works), num_words)
    if recipe.weights_file is None or not Path(recipe.weights_file).is_dir():
        return build_model(recipe, len(works), num_words)
    model = build_model(bare, len(works), num_words)
    start_from_checkpoint(model, Path(recipe.weights_file), works)
    return model


def _placed(model: Model, recipe: Recipe, device: torch.device, ranks: DistributedContext) -> Model:
    """Return the model on its device, in the recipe's memory format, with batch norms that see the whole batch."""
    model = model.to(device)
    if recipe.channels_last:
        model = model.to(memory_format=torch.channels_last)
    if ranks.world > 1 and device.type == "cuda":
        model.backbone = nn.SyncBatchNorm.convert_sync_batchnorm(model.backbone)  # type: ignore[no-untyped-call]
    return model


def seed_everything(seed: int, epoch: int, rank: int = 0) -> None:
    """Seed torch, numpy and random from (seed, epoch): timm's erasing and drop path use them.

    Every other rank gets random numbers of its own, because it has other images.

    Args:
        epoch: counted from 1; 0 is before the first.
    """
    entropy = (seed, epoch) if rank == 0 else (seed, epoch, rank)
    state = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    torch.manual_seed(state)
    np.random.seed(state)
    random.seed(state)
