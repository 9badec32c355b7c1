"""The models, one file per system; MODELS is the registry."""

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
    """The recipe's model for so many works, with fresh or pretrained weights as the recipe says.

    Args:
        num_words: of the vocabulary of tags, where the recipe reads them.
    """
    model = MODELS[recipe.system](recipe, num_works, num_words)
    if recipe.frozen_backbone:
        model.backbone.requires_grad_(False)
    return model
