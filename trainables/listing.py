"""What there is to train: every recipe with the size of its model, counted without making a weight."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch

from shards_tools.command import say
from trainables.models import build_model
from trainables.recipes import RECIPES
from trainables.recipes.recipe import Recipe


def list_recipes() -> list[dict[str, Any]]:
    """One entry per recipe, as `--list --json` prints it."""
    return [describe(recipe) for recipe in RECIPES.values()]


def print_list(recipes: Sequence[dict[str, Any]]) -> None:
    """A line for each recipe, for people; the tiny twins, which have the names of their papers' rows, are left out."""
    names = {entry["name"] for entry in recipes}
    for entry in recipes:
        if entry["name"].removesuffix("-tiny") in names - {entry["name"]}:
            continue
        row = f"{entry['table']}, {entry['row']}" if entry["table"] else RECIPES[entry["name"]].preset or "ours"
        size = f"{entry['num_parameters'] / 1e6:7.2f} M parameters  {entry['tokens']:4} tokens"
        say(f"{entry['name']:36}{entry['backbone']:26}{size}  {row}")
    say("NAME-tiny is the tiny form of each.")


def describe(recipe: Recipe) -> dict[str, Any]:
    """Names and sizes of a recipe.

    `num_parameters` leaves out the classifiers, whose size the data decide; `feature_dim` is that of the test feature;
    `tokens` are the patches, without the class token.
    """
    with torch.device("meta"):
        model = build_model(dataclasses.replace(recipe, pretrained=False, weights_file=None), num_works=2)
    sizes = [weight.numel() for name, weight in model.named_parameters() if "classifiers" not in name]
    return {
        **{name: getattr(recipe, name) for name in ("name", "system", "table", "row", "backbone")},
        "num_parameters": sum(sizes),
        "feature_dim": model.num_features,
        "image_size": recipe.image_size,
        "tokens": model.num_tokens,
    }
