"""The models, one file per system, and their registry `MODELS`."""

from collections.abc import Callable
from typing import Any

from trainables.models import agw, animesion, dafre, icartoonface, open_networks, transreid
from trainables.models.model import Model
from trainables.recipes.recipe import Recipe

MODELS: dict[str, Callable[[Any, int, int], Model]] = {
    "transreid": transreid.build_transreid,
    "agw": agw.build_agw,
    "dafre": dafre.build_dafre,
    "animesion": animesion.build_animesion,
    "icartoonface": icartoonface.build_icartoonface,
    "open": open_networks.build_open,
}


def build_model(recipe: Recipe, num_works: int, num_words: int = 0) -> Model:
    """Build the recipe's model, with fresh or pretrained weights as the recipe says.

    Args:
        num_works: number of classes.
        num_words: size of the vocabulary of tags; 0 if the recipe reads none.

    Raises:
        Error: the pretrained weights cannot be read or do not fit.
    """
    model = MODELS[recipe.system](recipe, num_works, num_words)
    if recipe.frozen_backbone:
        model.backbone.requires_grad_(False)
    return model
