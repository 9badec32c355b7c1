"""The models, one file per system; MODELS is the registry.

A model takes uint8 images B x H x W x C. In training mode it gives `{"logits": [...], "features": [...]}`, one entry
per branch; in evaluation mode the test features B x D. `num_features` is D, `num_tokens` the patches of an image.
"""

from collections.abc import Callable
from typing import Any

from torch import nn

from trainables.models import transreid
from trainables.recipes.recipe import Recipe

MODELS: dict[str, Callable[[Any, int], nn.Module]] = {"transreid": transreid.TransReID}


def build_model(recipe: Recipe, num_works: int) -> nn.Module:
    """The recipe's model for so many works, with fresh or pretrained weights as the recipe says."""
    return MODELS[recipe.system](recipe, num_works)
