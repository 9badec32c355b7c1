"""`python -m trainables.train`: one training, nothing but the loop."""

import dataclasses
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from shards_tools.command import Parser, positive_int, print_json, run, say, show_log
from shards_tools.errors import Error
from shards_tools.images import READINGS
from shards_tools.manifest_file import read_manifest
from shards_tools.plugins import add_code_options, load_plugins
from trainables.bar import EpochBar
from trainables.evaluation import Evaluation, Metrics
from trainables.listing import list_recipes, print_list
from trainables.loop import train
from trainables.out_folder import OutFolder
from trainables.recipes import get_recipe
from trainables.recipes.recipe import Recipe
from trainables.recipes.settings import override, parse_settings
from trainables.step import NonFiniteLoss

EXAMPLE = """example:
  python -m trainables.train --recipe transreid-tiny --data shards/lsasrd --out runs/one --set lr=0.001"""


def main(arguments: Sequence[str] | None) -> None:
    """Train one recipe, or list them all."""
    options = _parser().parse_args(arguments)
    load_plugins(options.import_, accept_changed_code=options.accept_changed_code)
    if options.list:
        recipes = list_recipes()
        print_list(recipes)
        if options.json:
            print_json({"recipes": recipes})
        return
    for name in ("recipe", "data", "out"):
        if getattr(options, name) is None:
            raise Error(f"--{name} is missing. See: python -m trainables.train --help.")
    show_log("shards_tools", "trainables")
    start = time.perf_counter()
    recipe = _chosen_recipe(options)
    manifest = read_manifest(options.data)
    evaluation = Evaluation(manifest, "val", options.fold)
    chance = evaluation.chance()
    out = OutFolder(options.out, recipe, manifest, fold=options.fold, seed=options.seed)
    _say_what_starts(recipe, evaluation, options, chance)
    if len(out.metrics) < recipe.epochs:
        _train(recipe, evaluation, out, options)
    metrics, objective = out.metrics[-1], evaluation.objectives[0]
    what = f"{objective} {metrics[objective]:.4f} after {recipe.epochs} epochs (chance {chance[objective]:.4f})"
    say(f"{what}. Checkpoint: {out.last}")
    if options.json:
        result = {"recipe": recipe.name, "data": str(options.data), "epochs": recipe.epochs, "metrics": metrics}
        seconds = time.perf_counter() - start
        print_json({**result, "chance": chance, "checkpoint": str(out.last), "seconds": seconds})


def _parser() -> Parser:
    parser = Parser(prog="python -m trainables.train", description="Train one recipe.", epilog=EXAMPLE)
    parser.add_argument("--recipe", metavar="NAME", help="which recipe; see --list")
    parser.add_argument("--data", metavar="SHARDS", help="shards: a folder, https://, s3:// or gs://")
    parser.add_argument("--out", type=Path, metavar="DIR", help="written here; the same command goes on there")
    parser.add_argument("--epochs", type=positive_int, metavar="N", help="instead of the recipe's")
    parser.add_argument("--fold", type=int, default=0, metavar="K", help="fold to validate on (default 0)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default 0")
    parser.add_argument("--reading", choices=READINGS, default="auto", help="how images are read; default: what fits")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="set the recipe's fields"
    )
    add_code_options(parser)
    parser.add_argument("--list", action="store_true", help="list the recipes and end")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    return parser


def _chosen_recipe(options: Namespace) -> Recipe:
    recipe = get_recipe(options.recipe)
    recipe = override(recipe, parse_settings(options.set, recipe))
    return recipe if options.epochs is None else dataclasses.replace(recipe, epochs=options.epochs)


def _say_what_starts(recipe: Recipe, evaluation: Evaluation, options: Namespace, chance: Metrics) -> None:
    manifest = evaluation.manifest
    works, images = recipe.batch_shape(len(np.unique(manifest.work[manifest.split(options.fold).train])))
    batches = f"{works} works x {images} images" if images > 1 else f"{works} images"
    what = f"{recipe.name} on {options.data}, fold {options.fold}: {recipe.epochs} epochs"
    objective = evaluation.objectives[0]
    say(f"{what}, batches of {batches}, chance {objective} {chance[objective]:.4f}")


def _train(recipe: Recipe, evaluation: Evaluation, out: OutFolder, options: Namespace) -> None:
    objective = evaluation.objectives[0]
    with EpochBar(recipe.epochs, len(out.metrics) + 1) as bar:

        def report(metrics: Metrics, save: Callable[[Path], None]) -> None:
            out.report(metrics, save)
            speed = f"{metrics['images_per_second']:.0f} images/s"
            epoch, value = int(metrics["epoch"]), metrics[objective]
            bar.epoch_done(f"epoch {epoch}: {objective} {value:.4f}, loss {metrics['loss']:.3f}, {speed}", epoch)

        try:
            train(
                recipe,
                evaluation.manifest,
                report=report,
                save_partial=out.save_partial,
                fold=options.fold,
                seed=options.seed,
                resume=out.checkpoint(),
                reading=options.reading,
                watch=bar.batch_done,
            )
        except NonFiniteLoss as end:
            raise Error(f"{end} Set a lower lr, or a longer warm-up.") from end
        except torch.OutOfMemoryError as end:
            raise Error(
                f"{recipe.name} does not fit the GPU's memory ({str(end).splitlines()[0]}) Set a smaller batch, or"
                " checkpointing=true, or micro_batch."
            ) from end


if __name__ == "__main__":
    run(main)
