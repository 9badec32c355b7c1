"""The training loop: trains, evaluates and reports epoch by epoch, and knows nothing of who listens."""

import dataclasses
import math
import random
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from shards_tools.cache import decoded
from shards_tools.errors import Error
from shards_tools.manifest import Manifest, Split
from trainables.batches import effective_batch, training_batches
from trainables.checkpoint import (
    CheckpointInfo,
    load_training_state,
    load_weights,
    read_info,
    save_checkpoint,
    versions,
)
from trainables.evaluation import by_name, evaluate_split
from trainables.losses import LOSSES
from trainables.models import build_model
from trainables.optimiser import build_optimiser, set_learning_rate
from trainables.recipes.recipe import Recipe
from trainables.schedule import learning_rate

Metrics = dict[str, float]
Report = Callable[[Metrics, Callable[[Path], None]], None]


class NonFiniteLoss(ArithmeticError):
    """The loss became infinite or NaN: these settings do not train."""


@dataclass(kw_only=True)
class Training:
    """All that a training holds while it runs."""

    recipe: Recipe
    manifest: Manifest
    split: Split
    fold: int
    seed: int
    device: torch.device
    pixels: np.ndarray  # every image of the manifest, decoded
    works: np.ndarray  # ids of the works trained on, ascending
    labels: np.ndarray  # of the images trained on: places in `works`
    roles: np.ndarray  # of the images trained on
    model: nn.Module
    optimiser: torch.optim.Optimizer


def train(
    recipe: Recipe,
    manifest: Manifest,
    *,
    report: Report,
    fold: int = 0,
    seed: int = 0,
    resume: Path | None = None,
    device: str | None = None,
) -> None:
    """Train a recipe on a fold and report the metrics on its val split after every epoch.

    Every epoch draws from (seed, epoch) alone, so a resumed training goes on exactly as it would have; on a CPU with
    one thread to the bit.

    Args:
        report: called with the epoch's metrics and a function that writes the checkpoint of this moment into a folder.
        resume: a checkpoint of the same recipe, data, fold and seed. Its own metrics are reported again first.
        device: torch's name of it; None is the GPU where there is one, else the CPU.
    """
    if seed < 0:
        raise Error(f"seed={seed} does not do: take a whole number of at least 0.")
    done, metrics = _finished_epochs(resume, recipe, manifest, fold, seed)
    training = prepare(recipe, manifest, fold=fold, seed=seed, device=device, fresh=resume is None)
    if resume is not None:
        load_weights(training.model, resume)
        load_training_state(resume, training.optimiser)
        report(dict(metrics), partial(_save, training, done, metrics))
    for epoch in range(done + 1, recipe.epochs + 1):
        metrics = run_epoch(training, epoch)
        report(dict(metrics), partial(_save, training, epoch, metrics))


def prepare(
    recipe: Recipe, manifest: Manifest, *, fold: int, seed: int, device: str | None = None, fresh: bool = True
) -> Training:
    """A training before its first epoch; unless `fresh` no pretrained weights are fetched: others replace them."""
    split = manifest.split(fold)
    works, labels = np.unique(manifest.work[split.train], return_inverse=True)
    effective_batch(recipe, len(works))  # refuses data that give no batch before anything is decoded
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    seed_everything(seed, 0)
    start = recipe if fresh else dataclasses.replace(recipe, pretrained=False)
    model = build_model(start, len(works)).to(where)
    return Training(
        recipe=recipe,
        manifest=manifest,
        split=split,
        fold=fold,
        seed=seed,
        device=where,
        pixels=decoded(manifest, recipe.image_size, recipe.image_size),
        works=works,
        labels=labels.astype(np.int64),
        roles=manifest.role[split.train],
        model=model,
        optimiser=build_optimiser(model, recipe),
    )


def run_epoch(training: Training, epoch: int) -> Metrics:
    """Train one epoch, counted from 1, evaluate, and give back what there is to report."""
    recipe = training.recipe
    start = time.perf_counter()
    seed_everything(training.seed, epoch)
    set_learning_rate(training.optimiser, recipe, epoch)
    losses, num_images = train_one_epoch(training, epoch)
    images_per_second = num_images / (time.perf_counter() - start)
    split = training.split
    scores = evaluate_split(
        training.model, training.pixels, training.manifest, split.val_query, split.val_gallery, training.device
    )
    return {
        "epoch": epoch,
        **by_name(scores),
        "num_valid_queries": scores.num_valid_queries,
        **losses,
        "lr": learning_rate(recipe, epoch),
        "seconds": time.perf_counter() - start,
        "images_per_second": images_per_second,
        "time": time.time(),
        **memory(training.device),
    }


def train_one_epoch(training: Training, epoch: int) -> tuple[Metrics, int]:
    """One pass over the epoch's batches: the mean of each loss, and the number of images."""
    compute_losses = LOSSES[training.recipe.system]
    sums: dict[str, float] = defaultdict(float)
    num_images = 0
    training.model.train()
    batches = training_batches(
        training.pixels,
        training.split.train,
        training.labels,
        training.roles,
        training.recipe,
        seed=training.seed,
        epoch=epoch,
    )
    for step, (images_BHWC, works_B) in enumerate(batches, start=1):
        images_BHWC, works_B = images_BHWC.to(training.device), works_B.to(training.device)
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=training.device.type == "cuda"):
            outputs = training.model(images_BHWC)
        losses = compute_losses(outputs, works_B, training.recipe)
        values = {name: loss.item() for name, loss in losses.items()}
        if not math.isfinite(values["loss"]):
            place = f"in epoch {epoch}, step {step}"
            raise NonFiniteLoss(f"The loss is {values['loss']} {place}, with lr={training.recipe.lr}.")
        training.optimiser.zero_grad()
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        training.optimiser.step()
        num_images += len(works_B)
        for name, value in values.items():
            sums[name] += value * len(works_B)
    return {name: total / num_images for name, total in sums.items()}, num_images


def seed_everything(seed: int, epoch: int) -> None:
    """Seed torch, numpy and random from (seed, epoch): timm's erasing and drop path draw from them."""
    state = int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0])
    torch.manual_seed(state)
    np.random.seed(state)
    random.seed(state)


def memory(device: torch.device) -> Metrics:
    """The process's largest resident memory so far in MB and, on a GPU, the largest memory taken there."""
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    sizes = {"rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6}
    if device.type == "cuda":
        sizes["gpu_mb"] = torch.cuda.max_memory_allocated(device) / 1e6
    return sizes


def _finished_epochs(
    resume: Path | None, recipe: Recipe, manifest: Manifest, fold: int, seed: int
) -> tuple[int, Metrics]:
    """How many epochs the checkpoint has behind it, and its metrics; refuses a checkpoint of another training."""
    if resume is None:
        return 0, {}
    info = read_info(resume)
    asked: dict[str, Any] = {"recipe": recipe, "fingerprint": manifest.fingerprint, "fold": fold, "seed": seed}
    for name, value in asked.items():
        if getattr(info, name) != value:
            raise Error(f"{resume} was trained with {name} {getattr(info, name)}, not {value}. Resume it with its own.")
    return info.epoch, info.metrics


def _save(training: Training, epoch: int, metrics: Metrics, folder: Path) -> None:
    info = CheckpointInfo(
        recipe=training.recipe,
        fingerprint=training.manifest.fingerprint,
        fold=training.fold,
        seed=training.seed,
        epoch=epoch,
        metrics=metrics,
        works=tuple(training.manifest.works[work] for work in training.works),
        num_threads=torch.get_num_threads(),
        versions=versions(),
    )
    save_checkpoint(folder, training.model, training.optimiser, info)
