"""`python -m trainables.train`: one training, nothing but the loop."""

import dataclasses
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from shards_tools.command import Parser, positive_int, print_json, run, say
from shards_tools.errors import Error
from shards_tools.images import READINGS
from shards_tools.manifest import Manifest
from shards_tools.manifest_file import read_manifest
from trainables.batches import effective_batch
from trainables.evaluation import by_name, chance_on_split
from trainables.listing import list_recipes
from trainables.loop import Metrics, NonFiniteLoss, train
from trainables.out_folder import OutFolder
from trainables.recipes import get_recipe
from trainables.recipes.recipe import Recipe, override, parse_settings

EXAMPLE = """example:
  python -m trainables.train --recipe transreid-tiny --data shards/lsasrd --out runs/one --set lr=0.001"""


def main(arguments: Sequence[str] | None) -> None:
    """Train one recipe, or list them all."""
    options = _parser().parse_args(arguments)
    if options.list:
        _list(options.json)
        return
    for name in ("recipe", "data", "out"):
        if getattr(options, name) is None:
            raise Error(f"--{name} is missing. See: python -m trainables.train --help.")
    start = time.perf_counter()
    recipe = _chosen_recipe(options)
    manifest = read_manifest(options.data)
    split = manifest.split(options.fold)
    chance = by_name(chance_on_split(manifest, split.val_query, split.val_gallery))
    out = OutFolder(options.out, recipe, manifest, fold=options.fold, seed=options.seed)
    _say_what_starts(recipe, manifest, options, chance)
    if len(out.metrics) < recipe.epochs:
        _train(recipe, manifest, out, options)
    metrics = out.metrics[-1]
    say(f"mAP {metrics['mAP']:.4f} after {recipe.epochs} epochs (chance {chance['mAP']:.4f}). Checkpoint: {out.last}")
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
    parser.add_argument("--list", action="store_true", help="list the recipes and end")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    return parser


def _list(as_json: bool) -> None:
    recipes = list_recipes()
    for entry in recipes:
        row = f"{entry['table']}, {entry['row']}" if entry["table"] else "no paper's row"
        size = f"{entry['num_parameters'] / 1e6:.2f} M parameters, {entry['tokens']} tokens"
        say(f"{entry['name']:28}{entry['backbone']:24}{size:36}{row}")
    if as_json:
        print_json({"recipes": recipes})


def _chosen_recipe(options: Namespace) -> Recipe:
    recipe = get_recipe(options.recipe)
    recipe = override(recipe, parse_settings(options.set, recipe))
    return recipe if options.epochs is None else dataclasses.replace(recipe, epochs=options.epochs)


def _say_what_starts(recipe: Recipe, manifest: Manifest, options: Namespace, chance: dict[str, float]) -> None:
    num_works = len(np.unique(manifest.work[manifest.split(options.fold).train]))
    works, images = effective_batch(recipe, num_works)
    what = f"{recipe.name} on {options.data}, fold {options.fold}: {recipe.epochs} epochs"
    say(f"{what}, batches of {works} works x {images} images, chance mAP {chance['mAP']:.4f}")


def _train(recipe: Recipe, manifest: Manifest, out: OutFolder, options: Namespace) -> None:
    def report(metrics: Metrics, save: Callable[[Path], None]) -> None:
        out.report(metrics, save)
        speed = f"{metrics['images_per_second']:.0f} images/s"
        say(f"epoch {metrics['epoch']:.0f}: mAP {metrics['mAP']:.4f}, loss {metrics['loss']:.3f}, {speed}")

    try:
        train(
            recipe,
            manifest,
            report=report,
            save_partial=out.save_partial,
            fold=options.fold,
            seed=options.seed,
            resume=out.checkpoint(),
            reading=options.reading,
        )
    except NonFiniteLoss as end:
        raise Error(f"{end} Set a lower lr, or a longer warm-up.") from end


if __name__ == "__main__":
    run(main)
