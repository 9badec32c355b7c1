"""The models, one file per system; MODELS is the registry."""

from collections.abc import Callable
from typing import Any

from trainables.models import agw, transreid
from trainables.models.model import Model
from trainables.recipes.recipe import Recipe

MODELS: dict[str, Callable[[Any, int], Model]] = {
    "transreid": transreid.build_transreid,
    "agw": agw.build_agw,
}


def build_model(recipe: Recipe, num_works: int) -> Model:
    """The recipe's model for so many works, with fresh or pretrained weights as the recipe says."""
    model = MODELS[recipe.system](recipe, num_works)
    if recipe.frozen_backbone:
        model.backbone.requires_grad_(False)
    return model
