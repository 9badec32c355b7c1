"""What there is to train: every recipe with the size of its network."""

import csv
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from shards_tools.command import say
from trainables.recipes import RECIPES
from trainables.recipes.recipe import Recipe

SIZES_FILE = Path(__file__).parent / "recipes" / "sizes.csv"  # written by `python -m trainables.sizes`
SIZES = ("num_parameters", "feature_dim", "tokens")


def list_recipes() -> list[dict[str, Any]]:
    """One entry per recipe, as `--list --json` prints it."""
    return [describe(recipe) for recipe in RECIPES.values()]


def print_list(recipes: Sequence[dict[str, Any]]) -> None:
    """A line for each recipe, for people; the tiny twins, which have the names of their papers' rows, are left out."""
    names = {entry["name"] for entry in recipes}
    shown = [entry for entry in recipes if entry["name"].removesuffix("-tiny") not in names - {entry["name"]}]
    width = max(len(entry["name"]) for entry in shown) + 2
    say(f"{'recipe':{width}}{'backbone':26}{'parameters':>10}{'tokens':>8}  row")
    for entry in shown:
        row = f"{entry['table']}, {entry['row']}" if entry["table"] else RECIPES[entry["name"]].preset or "ours"
        size = f"{entry['num_parameters'] / 1e6:8.2f} M{entry['tokens']:8}"
        say(f"{entry['name']:{width}}{entry['backbone']:26}{size}  {row}")
    say("NAME-tiny is the tiny form of each.")


def describe(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe's names and sizes.

    `num_parameters` leaves out the classifiers, whose size the data decide; `feature_dim` is the dimension of the test
    feature; `tokens` is the number of patches without the class token, or of positions of the last feature map.
    """
    counted = dict(zip(SIZES, _sizes_of(recipe), strict=True))
    return {
        **{name: getattr(recipe, name) for name in ("name", "system", "table", "row", "backbone")},
        "num_parameters": counted["num_parameters"],
        "feature_dim": counted["feature_dim"],
        "image_size": recipe.image_size,
        "tokens": counted["tokens"],
    }


def _sizes_of(recipe: Recipe) -> tuple[int, ...]:
    """Return the sizes from the table, or count them for a recipe that is not in it as it is."""
    if RECIPES.get(recipe.name) is recipe and recipe.name in _table():
        return _table()[recipe.name]
    from trainables.sizes import sizes_of  # imports torch, which takes seconds

    return sizes_of(recipe)


@cache
def _table() -> dict[str, tuple[int, ...]]:
    with SIZES_FILE.open(newline="") as file:
        return {row["recipe"]: tuple(int(row[name]) for name in SIZES) for row in csv.DictReader(file)}
