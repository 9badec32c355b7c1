"""The training loop: trains, evaluates and reports epoch by epoch, and knows nothing of who listens."""

import math
import resource
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from trainables.batches import training_batches
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
from trainables.optimiser import set_learning_rate
from trainables.progress import Progress, load_progress, restore_random_states
from trainables.recipes.recipe import Recipe
from trainables.schedule import learning_rate
from trainables.training import Training, prepare, seed_everything

Metrics = dict[str, float]
Save = Callable[[Path], None]
Report = Callable[[Metrics, Save], None]

PARTIAL_CHECKPOINT_SECONDS = 600.0  # what a killed training loses at most, in epochs that take longer


class NonFiniteLoss(ArithmeticError):
    """The loss became infinite or NaN: these settings do not train."""


def train(
    recipe: Recipe,
    manifest: Manifest,
    *,
    report: Report,
    save_partial: Callable[[Save], None] | None = None,
    fold: int = 0,
    seed: int = 0,
    resume: Path | None = None,
    device: str | None = None,
    reading: str = "auto",
) -> None:
    """Train a recipe on a fold and report the metrics on its val split after every epoch.

    Every epoch draws from (seed, epoch) alone, so a resumed training goes on exactly as it would have; on a CPU with
    one thread to the bit.

    Args:
        report: called with the epoch's metrics and a function that writes the checkpoint of this moment into a folder.
        save_partial: called every PARTIAL_CHECKPOINT_SECONDS within an epoch, with such a function; None: never.
        resume: a checkpoint of the same recipe, data, fold and seed. Its own metrics are reported again first.
        device: torch's name of it; None is the GPU where there is one, else the CPU.
        reading: one of READINGS of shards_tools/images.py; with `resume`, `auto` is the checkpoint's own.
    """
    if seed < 0:
        raise Error(f"seed={seed} does not do: take a whole number of at least 0.")
    start = _start(resume, recipe, manifest, fold, seed, reading)
    training = prepare(
        recipe, manifest, fold=fold, seed=seed, device=device, fresh=resume is None, reading=start.reading
    )
    done, metrics = start.epoch, start.metrics
    if resume is not None:
        load_weights(training.model, resume)
        load_training_state(resume, training.optimiser)
        if done:
            report(dict(metrics), partial(_save, training, done, metrics, start.progress))
        training.progress = start.progress or Progress()
    for epoch in range(done + 1, recipe.epochs + 1):
        if save_partial:
            training.keep = _Keeper(training, epoch - 1, metrics, save_partial)
        metrics = run_epoch(training, epoch)
        report(dict(metrics), partial(_save, training, epoch, metrics, None))


def run_epoch(training: Training, epoch: int) -> Metrics:
    """Train one epoch, counted from 1, or the rest of one, evaluate, and give back what there is to report."""
    recipe = training.recipe
    start = time.perf_counter()
    seed_everything(training.seed, epoch)
    set_learning_rate(training.optimiser, recipe, epoch)
    num_images_before = training.progress.num_images
    losses, num_images = train_one_epoch(training, epoch)
    images_per_second = (num_images - num_images_before) / (time.perf_counter() - start)
    split = training.split
    scores = evaluate_split(
        training.model,
        training.evaluation_images,
        training.manifest,
        split.val_query,
        split.val_gallery,
        training.device,
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
    """One pass over the epoch's batches, or the rest of one: the mean of each loss, and the number of images."""
    progress = training.progress
    if progress.random:
        restore_random_states(progress.random, training.device)
    training.model.train()
    batches = training_batches(
        training.training_images,
        training.split.train,
        training.labels,
        training.roles,
        training.recipe,
        seed=training.seed,
        epoch=epoch,
        first=progress.num_batches,
    )
    with closing(batches):
        for images_BHWC, works_B in batches:
            losses = _train_one_batch(
                training, images_BHWC, works_B, f"in epoch {epoch}, step {progress.num_batches + 1}"
            )
            progress.add(losses, len(works_B))
            training.keep(progress)
    training.progress = Progress()
    return {name: total / progress.num_images for name, total in progress.sums.items()}, progress.num_images


def _train_one_batch(training: Training, images_BHWC: Tensor, works_B: Tensor, place: str) -> Metrics:
    images_BHWC, works_B = images_BHWC.to(training.device), works_B.to(training.device)
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=training.device.type == "cuda"):
        outputs = training.model(images_BHWC)
    losses = LOSSES[training.recipe.system](outputs, works_B, training.recipe)
    values = {name: loss.item() for name, loss in losses.items()}
    if not math.isfinite(values["loss"]):
        raise NonFiniteLoss(f"The loss is {values['loss']} {place}, with lr={training.recipe.lr}.")
    training.optimiser.zero_grad()
    losses["loss"].backward()  # type: ignore[no-untyped-call]
    training.optimiser.step()
    return values


def memory(device: torch.device) -> Metrics:
    """The process's largest resident memory so far in MB and, on a GPU, the largest memory taken there."""
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    sizes = {"rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6}
    if device.type == "cuda":
        sizes["gpu_mb"] = torch.cuda.max_memory_allocated(device) / 1e6
    return sizes


@dataclass(frozen=True, kw_only=True)
class _Start:
    """Where a training begins."""

    epoch: int  # whole epochs behind it
    metrics: Metrics
    progress: Progress | None
    reading: str


def _start(resume: Path | None, recipe: Recipe, manifest: Manifest, fold: int, seed: int, reading: str) -> _Start:
    """What the checkpoint has behind it; refuses a checkpoint of another training."""
    if resume is None:
        return _Start(epoch=0, metrics={}, progress=None, reading=reading)
    info = read_info(resume)
    asked: dict[str, Any] = {"recipe": recipe, "fingerprint": manifest.fingerprint, "fold": fold, "seed": seed}
    if reading != "auto" and "stream" in (reading, info.reading):  # its batches are others; elsewhere no pixel differs
        asked["reading"] = reading
    for name, value in asked.items():
        if getattr(info, name) != value:
            raise Error(f"{resume} was trained with {name} {getattr(info, name)}, not {value}. Resume it with its own.")
    reading = info.reading if reading == "auto" else reading
    return _Start(epoch=info.epoch, metrics=info.metrics, progress=load_progress(resume), reading=reading)


class _Keeper:
    """Has a checkpoint written whenever the last one is old."""

    def __init__(self, training: Training, epoch: int, metrics: Metrics, save_partial: Callable[[Save], None]) -> None:
        self._training, self._epoch, self._metrics, self._save_partial = training, epoch, metrics, save_partial
        self._last = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() - self._last < PARTIAL_CHECKPOINT_SECONDS:
            return
        device, now = self._training.device, progress.now(self._training.device)
        self._save_partial(partial(_save, self._training, self._epoch, self._metrics, now))
        assert now.random is not None
        restore_random_states(now.random, device)  # who saves may draw numbers of its own
        self._last = time.monotonic()


def _save(training: Training, epoch: int, metrics: Metrics, progress: Progress | None, folder: Path) -> None:
    info = CheckpointInfo(
        recipe=training.recipe,
        fingerprint=training.manifest.fingerprint,
        fold=training.fold,
        seed=training.seed,
        epoch=epoch,
        metrics=metrics,
        works=tuple(training.manifest.works[work] for work in training.works),
        num_threads=torch.get_num_threads(),
        reading=training.training_images.reading,
        versions=versions(),
    )
    save_checkpoint(folder, training.model, training.optimiser, info, progress)
