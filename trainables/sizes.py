"""Sizes of the recipes' networks, counted without allocating a weight.

`python -m trainables.sizes` writes them to recipes/sizes.csv, from which lists are printed without importing torch.
"""

import csv
import dataclasses
from functools import cache
from typing import Any

import torch

from trainables.data.text import least_num_words
from trainables.listing import SIZES, SIZES_FILE
from trainables.models import build_model
from trainables.recipes import RECIPES
from trainables.recipes.images import ImageSettings
from trainables.recipes.optimization import OptimizerSettings
from trainables.recipes.recipe import IDENTITY_FIELDS, RankingRecipe, Recipe


def _names(family: type) -> set[str]:
    return {field.name for field in dataclasses.fields(family)}


# Fields that no model's size depends on: recipes that differ in these alone are counted once.
NOT_OF_SIZES = (
    {
        *IDENTITY_FIELDS,
        "batch_sampler",
        "images_per_epoch",
        "batch_size",
        "label_smoothing",
        "precision",
        "channels_last",
    }
    | {"pretrained", "weights_file", "frozen_backbone"}
    | _names(OptimizerSettings)
    | (_names(ImageSettings) - {"image_size"})
    | (_names(RankingRecipe) - _names(Recipe))
) - {"system"}


def sizes_of(recipe: Recipe) -> tuple[int, int, int]:
    """Return the number of parameters without the classifiers, the test feature's dimension, and the tokens."""
    settings = tuple((key, value) for key, value in vars(recipe).items() if key not in NOT_OF_SIZES)
    return _sizes(settings, type(recipe))  # type: ignore[arg-type]  # a class is hashable


@cache
def _sizes(settings: tuple[tuple[str, Any], ...], family: type[Recipe]) -> tuple[int, int, int]:
    """Parameters, width of the test feature and tokens of a model with these settings."""
    values = dict(settings)
    recipe = family(name="any", scale="tiny", lr=1.0, pretrained=False, **values)
    with torch.device("meta"):
        model = build_model(recipe, num_works=2, num_words=least_num_words(recipe))
    counted = (weight.numel() for name, weight in model.named_parameters() if "classifiers" not in name)
    return sum(counted), model.num_features, model.num_tokens


def write_table() -> None:
    """Write the sizes of every recipe that comes with the project."""
    with SIZES_FILE.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["recipe", *SIZES])
        for recipe in RECIPES.values():
            table.writerow([recipe.name, *sizes_of(recipe)])


if __name__ == "__main__":
    write_table()
