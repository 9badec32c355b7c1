"""Lists the recipes with the sizes of their networks."""

import csv
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from shards_tools.command import say
from trainables.recipes import RECIPES
from trainables.recipes.recipe import Recipe

SIZES_FILE = Path(__file__).parent / "recipes" / "sizes.csv"  # written by `python -m trainables.sizes`
SIZES = ("num_parameters", "feature_dim", "tokens")


def list_recipes() -> list[dict[str, Any]]:
    """Return the names and sizes of every recipe, as `--list --json` prints them."""
    return [describe(recipe) for recipe in RECIPES.values()]


def print_list(recipes: Sequence[dict[str, Any]], write: Callable[[str], None]) -> None:
    """Write one line per recipe, without the tiny forms of other recipes; the heading goes to standard error."""
    names = {entry["name"] for entry in recipes}
    shown = [entry for entry in recipes if entry["name"].removesuffix("-tiny") not in names - {entry["name"]}]
    width = max(len(entry["name"]) for entry in shown) + 2
    say(f"{'recipe':{width}}{'backbone':26}{'parameters':>10}{'tokens':>8}  row")
    for entry in shown:
        row = f"{entry['table']}, {entry['row']}" if entry["table"] else RECIPES[entry["name"]].preset or "ours"
        size = f"{entry['num_parameters'] / 1e6:8.2f} M{entry['tokens']:8}"
        write(f"{entry['name']:{width}}{entry['backbone']:26}{size}  {row}")
    say("Recipes at paper scale also have a tiny form, NAME-tiny.")


def describe(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe's names and sizes.

    - `num_parameters`: without the classifiers, whose size depends on the data.
    - `feature_dim`: dimension of the test feature.
    - `tokens`: number of patches without the class token, or of positions in the last feature map.
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
    """Return the sizes from the table, or count them if the table does not have exactly this recipe."""
    if RECIPES.get(recipe.name) is recipe and recipe.name in _table():
        return _table()[recipe.name]
    from trainables.sizes import sizes_of  # imports torch, which takes seconds

    return sizes_of(recipe)


@cache
def _table() -> dict[str, tuple[int, ...]]:
    with SIZES_FILE.open(newline="") as file:
        return {row["recipe"]: tuple(int(row[name]) for name in SIZES) for row in csv.DictReader(file)}
