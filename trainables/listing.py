"""What there is to train: every recipe with the size of its model, counted without making a weight."""

import dataclasses
from typing import Any

import torch

from trainables.models import build_model
from trainables.recipes import RECIPES
from trainables.recipes.recipe import Recipe


def list_recipes() -> list[dict[str, Any]]:
    """One entry per recipe, as `--list --json` prints it."""
    return [describe(recipe) for recipe in RECIPES.values()]


def describe(recipe: Recipe) -> dict[str, Any]:
    """Names and sizes of a recipe.

    `num_parameters` leaves out the classifiers, whose size the data decide; `feature_dim` is that of the test feature;
    `tokens` are the patches, without the class token.
    """
    with torch.device("meta"):
        model = build_model(dataclasses.replace(recipe, pretrained=False), num_works=2)
    sizes = [weight.numel() for name, weight in model.named_parameters() if "classifier" not in name]
    return {
        **{name: getattr(recipe, name) for name in ("name", "system", "table", "row", "backbone")},
        "num_parameters": sum(sizes),
        "feature_dim": model.num_features,
        "image_size": recipe.image_size,
        "tokens": model.num_tokens,
    }
