"""A training: all that it holds while it runs, and how it stands before its first epoch."""

import dataclasses
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from shards_tools.images import Images, open_images
from shards_tools.manifest import Manifest, Split
from trainables.batches import TrainingImages, effective_batch, training_images
from trainables.models import build_model
from trainables.optimiser import build_optimiser
from trainables.progress import Progress
from trainables.recipes.recipe import Recipe


@dataclass(kw_only=True)
class Training:
    """All that a training holds while it runs."""

    recipe: Recipe
    manifest: Manifest
    split: Split
    fold: int
    seed: int
    device: torch.device
    evaluation_images: Images  # every image of the manifest as it is evaluated
    training_images: TrainingImages  # and as it is trained on, before augmentation
    works: np.ndarray  # ids of the works trained on, ascending
    labels: np.ndarray  # of the images trained on: places in `works`
    roles: np.ndarray  # of the images trained on
    model: nn.Module
    optimiser: torch.optim.Optimizer
    progress: Progress = field(default_factory=Progress)  # of the epoch under way
    keep: Callable[[Progress], None] = lambda progress: None  # called after every batch


def prepare(
    recipe: Recipe,
    manifest: Manifest,
    *,
    fold: int,
    seed: int,
    device: str | None = None,
    fresh: bool = True,
    reading: str = "auto",
) -> Training:
    """A training before its first epoch; unless `fresh` no pretrained weights are fetched: others replace them."""
    split = manifest.split(fold)
    works, labels = np.unique(manifest.work[split.train], return_inverse=True)
    effective_batch(recipe, len(works))  # refuses data that give no batch before anything is decoded
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    seed_everything(seed, 0)
    start = recipe if fresh else dataclasses.replace(recipe, pretrained=False)
    model = build_model(start, len(works)).to(where)
    threads = torch.get_num_threads()
    images = open_images(manifest, recipe.image_size, recipe.image_size, reading, threads=threads)
    same = recipe.enlarge_px == 0 and recipe.crop_area is None
    return Training(
        recipe=recipe,
        manifest=manifest,
        split=split,
        fold=fold,
        seed=seed,
        device=where,
        evaluation_images=images,
        training_images=images if same else training_images(recipe, manifest, reading, threads=threads),
        works=works,
        labels=labels.astype(np.int64),
        roles=manifest.role[split.train],
        model=model,
        optimiser=build_optimiser(model, recipe),
    )


def seed_everything(seed: int, epoch: int) -> None:
    """Seed torch, numpy and random from (seed, epoch): timm's erasing and drop path draw from them."""
    state = int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0])
    torch.manual_seed(state)
    np.random.seed(state)
    random.seed(state)
