"""Runs one training from the options of `trainables.train` to its last line."""

import dataclasses
import time
from argparse import Namespace

import torch

from shards_tools.command import print_json, say, show_log
from shards_tools.errors import Error
from shards_tools.manifest_file import read_manifest
from trainables.bar import EpochBar
from trainables.evaluation.evaluation import Evaluation, Metrics
from trainables.recipes import get_recipe
from trainables.recipes.recipe import Recipe
from trainables.recipes.settings import override, parse_settings
from trainables.training.background import BackgroundReports
from trainables.training.loop import train
from trainables.training.loss_reader import NonFiniteLoss
from trainables.training.progress import Progress
from trainables.training.resume import CurrentCheckpoint
from trainables.training.run_dir import OutFolder
from trainables.training.schedule import spans_all_epochs
from trainables.training.trial_report import TrialReport


def run_recipe(options: Namespace) -> None:
    """Train, or resume, and print the result."""
    show_log("shards_tools", "trainables")
    start = time.perf_counter()
    recipe = _chosen_recipe(options)
    manifest = read_manifest(options.data)
    manifest.require_train()
    evaluation = Evaluation(manifest, "val", options.fold)
    chance = evaluation.chance()
    out = OutFolder(options.out, recipe, manifest, fold=options.fold, seed=options.seed)
    _say_what_starts(recipe, evaluation, options, chance)
    if out.former_epochs is not None:
        _say_what_is_extended(recipe, out.former_epochs)
    if len(out.metrics) < recipe.epochs:
        _train(recipe, evaluation, out, options)
    metrics, objective = out.metrics[-1], evaluation.objectives[0]
    what = f"{objective} {metrics[objective]:.4f} after {recipe.epochs} epochs (chance {chance[objective]:.4f})"
    say(f"{what}. Checkpoint: {out.last}")
    if options.json:
        result = {"recipe": recipe.name, "data": str(options.data), "epochs": recipe.epochs, "metrics": metrics}
        seconds = time.perf_counter() - start
        print_json({**result, "chance": chance, "checkpoint": str(out.last), "seconds": seconds})


def _chosen_recipe(options: Namespace) -> Recipe:
    recipe = get_recipe(options.recipe)
    recipe = override(recipe, parse_settings(options.set, recipe))
    return recipe if options.epochs is None else dataclasses.replace(recipe, epochs=options.epochs)


def _say_what_starts(recipe: Recipe, evaluation: Evaluation, options: Namespace, chance: Metrics) -> None:
    size = evaluation.manifest.train_size(options.fold)
    works, images = recipe.batch_shape(*size)
    batches = f"{works} works x {images} images" if images > 1 else f"{works} images"
    what = f"{recipe.name} on {options.data}, fold {options.fold}: {recipe.epochs} epochs"
    objective = evaluation.objectives[0]
    say(f"{what}, batches of {batches}, chance {objective} {chance[objective]:.4f}")
    if smaller := recipe.smaller_batch(*size):
        say(smaller)


def _say_what_is_extended(recipe: Recipe, former_epochs: int) -> None:
    what = f"The training of {former_epochs} epochs is extended to {recipe.epochs}: its {recipe.schedule} schedule"
    if spans_all_epochs(recipe):
        say(f"{what} is computed for {recipe.epochs} epochs from now on, so the learning rate rises again.")
    else:
        say(f"{what} continues, because it does not depend on the number of epochs.")


def _train(recipe: Recipe, evaluation: Evaluation, out: OutFolder, options: Namespace) -> None:
    objective = evaluation.objectives[0]
    with EpochBar(recipe.epochs, len(out.metrics) + 1) as bar:

        def write_and_show(report: TrialReport, checkpoint: CurrentCheckpoint) -> None:
            reports.report(report, checkpoint)
            epoch, metrics = report.epoch, report.metrics
            speed = f"{metrics['images_per_second']:.0f} images/s"
            scores = f"{objective} {metrics[objective]:.4f}, loss {metrics['loss']:.3f}"
            bar.epoch_done(f"epoch {epoch}: {scores}, {speed}", epoch)

        def watch(progress: Progress) -> None:
            reports.raise_failure(progress)
            bar.batch_done(progress)

        try:
            with BackgroundReports(out.report, out.save_partial) as reports:
                train(
                    recipe,
                    evaluation.manifest,
                    report=write_and_show,
                    save_partial=reports.save_partial,
                    fold=options.fold,
                    seed=options.seed,
                    resume=out.checkpoint(),
                    reading=options.reading,
                    watch=watch,
                )
        except NonFiniteLoss as end:
            raise Error(f"{end} Set a lower lr, or a longer warm-up.") from end
        except torch.OutOfMemoryError as end:
            raise Error(
                f"{recipe.name} does not fit the GPU's memory ({str(end).splitlines()[0]}) Set a smaller batch, or"
                " activation_checkpointing=true, or micro_batch."
            ) from end
