"""What there is to train: every recipe with the size of its model, counted without making a weight."""

import dataclasses
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch

from shards_tools.command import say
from trainables.models import build_model
from trainables.recipes import RECIPES
from trainables.recipes.images import ImageSettings
from trainables.recipes.optimization import OptimizerSettings
from trainables.recipes.ranking import RankingRecipe
from trainables.recipes.recipe import IDENTITY_FIELDS, Recipe
from trainables.text import least_num_words


def _names(family: type) -> set[str]:
    return {field.name for field in dataclasses.fields(family)}


# Fields that no model's size depends on: recipes that differ in these alone are counted once.
NOT_OF_SIZES = (
    {*IDENTITY_FIELDS, "plan", "images_per_epoch", "batch_size", "label_smoothing", "precision", "channels_last"}
    | {"pretrained", "weights_file", "frozen_backbone"}
    | _names(OptimizerSettings)
    | (_names(ImageSettings) - {"image_size"})
    | (_names(RankingRecipe) - _names(Recipe))
) - {"system"}


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
    """Names and sizes of a recipe.

    `num_parameters` leaves out the classifiers, whose size the data decide; `feature_dim` is that of the test feature;
    `tokens` are the patches, without the class token, or the places of the last map.
    """
    settings = tuple((key, value) for key, value in vars(recipe).items() if key not in NOT_OF_SIZES)
    sizes = _sizes(settings, type(recipe))  # type: ignore[arg-type]  # a class is hashable
    return {
        **{name: getattr(recipe, name) for name in ("name", "system", "table", "row", "backbone")},
        "num_parameters": sizes[0],
        "feature_dim": sizes[1],
        "image_size": recipe.image_size,
        "tokens": sizes[2],
    }


@cache
def _sizes(settings: tuple[tuple[str, Any], ...], family: type[Recipe]) -> tuple[int, int, int]:
    """Parameters, width of the test feature and tokens of a model with these settings."""
    values = dict(settings)
    recipe = family(name="any", scale="tiny", lr=1.0, pretrained=False, **values)
    with torch.device("meta"):
        model = build_model(recipe, num_works=2, num_words=least_num_words(recipe))
    counted = (weight.numel() for name, weight in model.named_parameters() if "classifiers" not in name)
    return sum(counted), model.num_features, model.num_tokens
