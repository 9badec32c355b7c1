"""The training loop: train, evaluate and report, epoch by epoch, without knowing who receives the reports."""

import dataclasses
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from trainables.device import Device
from trainables.distributed import ALONE, DistributedContext
from trainables.evaluation.evaluate import evaluate, ms_per_image, validation_precision
from trainables.evaluation.evaluation import Metrics
from trainables.profiling.resource_usage import forget_peaks, load, peaks
from trainables.recipes.recipe import Recipe
from trainables.training.checkpoint_info import read_info
from trainables.training.loss_reader import LossReader
from trainables.training.optimizer import set_learning_rate
from trainables.training.progress import Progress, load_progress, restore_random_states
from trainables.training.resume import CurrentCheckpoint, load_training
from trainables.training.schedule import Moment
from trainables.training.train_state import TrainState, epoch_batches, prepare, seed_everything
from trainables.training.trial_report import TrialReport

PARTIAL_CHECKPOINT_SECONDS = 600.0  # the most that a killed training loses in longer epochs


def train(
    recipe: Recipe,
    manifest: Manifest,
    *,
    report: Callable[[TrialReport, CurrentCheckpoint], None],
    save_partial: Callable[[CurrentCheckpoint], None] | None = None,
    fold: int = 0,
    seed: int = 0,
    resume: Path | None = None,
    device: str | None = None,
    reading: str = "auto",
    ranks: DistributedContext = ALONE,
    watch: Callable[[Progress], None] | None = None,
) -> None:
    """Train a recipe on a fold and report the metrics on its val split, unless it trains on val too, after every epoch.

    Every epoch depends only on (seed, epoch), so a resumed training continues exactly as it would have; with one thread
    on a CPU, bit for bit.

    Args:
        report: called after every epoch with its report and its checkpoint, to be written or copied before it returns.
        save_partial: called with a checkpoint every PARTIAL_CHECKPOINT_SECONDS within an epoch; None: never.
        resume: a checkpoint of the same training, or with fewer epochs. Its own metrics are reported again first.
        device: a torch device string; None selects the GPU if there is one, else the CPU.
        reading: one of READINGS in shards_tools/images.py. With `resume`, `auto` is the checkpoint's own.
        ranks: this process and those that train with it; only the first reports and writes.
        watch: called after every batch with the progress of the epoch.

    Raises:
        Error: a setting is invalid, the checkpoint is of another training, or the data do not fit the recipe.
        NonFiniteLoss: the loss became infinite or NaN.
    """
    if seed < 0:
        raise Error(f"`seed={seed}` is invalid: it must be an integer >= 0.")
    start = _start(resume, recipe, manifest, fold, seed, reading)
    where = Device(device)
    forget_peaks(where)
    training = prepare(
        recipe,
        manifest,
        fold=fold,
        seed=seed,
        device=where,
        fresh=resume is None,
        reading=start.reading,
        ranks=ranks,
    )
    done, metrics, first = start.epoch, start.metrics, ranks.rank == 0
    if resume is not None:
        load_training(training, resume)
        if done and first:
            report(_report(training, metrics), CurrentCheckpoint(training, done, metrics, start.progress))
        training.progress = start.progress or Progress()
    for epoch in range(done + 1, recipe.epochs + 1):
        # a checkpoint within an epoch would lack the random states of the other ranks
        saves = save_partial if ranks.world == 1 else None
        training.keep = _Keeper(training, epoch - 1, metrics, saves, watch if first else None)
        metrics = run_epoch(training, epoch)
        if first:
            report(_report(training, metrics), CurrentCheckpoint(training, epoch, metrics, None))


def _report(training: TrainState, metrics: Metrics) -> TrialReport:
    return TrialReport(metrics=dict(metrics), reading=training.reading)


def run_epoch(training: TrainState, epoch: int) -> Metrics:
    """Train one epoch (counted from 1), or the rest of one, evaluate, and return the metrics to report."""
    start = time.perf_counter()
    seed_everything(training.seed, epoch, training.ranks.rank)
    num_images_before = training.progress.num_images
    losses, num_images = train_one_epoch(training, epoch)
    images_per_second = (num_images - num_images_before) / (time.perf_counter() - start)
    scores = _validate(training, epoch)
    return {
        "epoch": epoch,
        **scores,
        **losses,
        "lr": next(group["lr"] for group in training.optimizer.param_groups if group["lr_factor"] == 1),
        "seconds": time.perf_counter() - start,
        "images_per_second": images_per_second,
        "time": time.time(),
        **peaks(training.device),
        **load(training.device),
    }


def _validate(training: TrainState, epoch: int) -> Metrics:
    """Evaluate on val, and measure the latency in the first epoch of this start; without val, return no metrics."""
    recipe = training.recipe
    if not len(training.evaluation.query):
        return {}
    parts = training.evaluated_model, training.evaluation, training.inputs, training.device
    precision, batch_size = validation_precision(recipe, epoch), training.evaluation_batch_size
    scores = evaluate(*parts, training.ranks, precision=precision, batch_size=batch_size)
    if training.ms_per_image is None:
        training.ms_per_image = ms_per_image(*parts, precision=recipe.precision)
    return {**scores, "ms_per_image": training.ms_per_image}


def train_one_epoch(training: TrainState, epoch: int) -> tuple[Metrics, int]:
    """Train on the epoch's remaining batches; return the mean of each loss over the epoch and its number of images."""
    progress, recipe = training.progress, training.recipe
    if progress.random:
        restore_random_states(progress.random, training.device)
    device, batches = training.device, epoch_batches(training, epoch, training.ranks)
    losses = LossReader(device, progress, batches.batch_size, recipe.lr)
    training.model.train(recipe.train_mode_epochs is None or epoch <= recipe.train_mode_epochs)
    training.criterion.train()
    progress.of = len(batches)
    with closing(batches.start(progress.num_batches)) as own:
        for batch in own:
            moment = Moment(epoch, progress.num_batches, len(batches))
            set_learning_rate(training.optimizer, recipe, moment)
            place = f"in epoch {epoch}, step {progress.num_batches + 1}"
            losses.add(training.step(batch.to(device).augmented(recipe)), place)
            if training.averaged is not None:
                training.averaged.update(training.model)
            progress.num_batches += 1
            training.keep(progress, losses)
    losses.finish()
    training.progress = Progress()
    return {name: total / progress.num_images for name, total in progress.sums.items()}, progress.num_images


@dataclass(frozen=True, kw_only=True)
class _Start:
    """Where a training begins."""

    epoch: int  # completed epochs
    metrics: Metrics
    progress: Progress | None
    reading: str


def _start(
    resume: Path | None,
    recipe: Recipe,
    manifest: Manifest,
    fold: int,
    seed: int,
    reading: str,
) -> _Start:
    """Return where the checkpoint left off.

    Raises:
        Error: the checkpoint belongs to another training.
    """
    if resume is None:
        return _Start(epoch=0, metrics={}, progress=None, reading=reading)
    info = read_info(resume)
    written: dict[str, Any] = {**vars(info), **dataclasses.asdict(info.recipe)}
    asked = {
        **dataclasses.asdict(recipe),
        "fingerprint": manifest.fingerprint,
        "trained_on": manifest.trained_on,
        "fold": fold,
        "seed": seed,
    }
    if reading != "auto" and "stream" in (reading, info.reading):  # only streamed batches differ in content
        asked["reading"] = reading
    for name, value in asked.items():
        is_longer = name == "epochs" and info.recipe.epochs < recipe.epochs
        if written.get(name) != value and not is_longer:
            raise Error(
                f"{resume} was trained with {name} {written.get(name)}, not {value}. Use its settings to resume."
            )
    reading = info.reading if reading == "auto" else reading
    return _Start(epoch=info.epoch, metrics=info.metrics, progress=load_progress(resume), reading=reading)


class _Keeper:
    """Writes a checkpoint whenever the last one is old, and passes the epoch's progress to the watcher."""

    def __init__(
        self,
        training: TrainState,
        epoch: int,
        metrics: Metrics,
        save_partial: Callable[[CurrentCheckpoint], None] | None,
        watch: Callable[[Progress], None] | None,
    ) -> None:
        self._training, self._epoch, self._metrics = training, epoch, metrics
        self._save_partial, self._watch = save_partial, watch
        self._last = time.monotonic()

    def __call__(self, progress: Progress, losses: LossReader) -> None:
        if self._watch:
            self._watch(progress)
        if self._save_partial is None or time.monotonic() - self._last < PARTIAL_CHECKPOINT_SECONDS:
            return
        losses.finish()
        device, now = self._training.device, progress.now(self._training.device)
        self._save_partial(CurrentCheckpoint(self._training, self._epoch, self._metrics, now))
        assert now.random is not None
        restore_random_states(now.random, device)  # saving may use random numbers
        self._last = time.monotonic()
