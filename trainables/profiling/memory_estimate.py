"""Estimate the memory of a training from the shapes of its model, to find the largest of many recipes.

No weight is allocated and no image is read, so hundreds of recipes can be compared. `measure_step.py` measures the
memory of one.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from trainables.data.text import least_num_words
from trainables.models import build_model
from trainables.models.input_step import InputStep
from trainables.recipes.animesion import AnimesionRecipe
from trainables.recipes.recipe import Recipe
from trainables.sizes import NOT_OF_SIZES

# besides weights and gradients: momentum, or the two moments of Adam
STATES_PER_WEIGHT = {"sgd": 1, "adam": 2, "adamw": 2}
IMAGES_AT_ONCE = 2  # the smallest batch that batch norms can train on


def bytes_held(recipe: Recipe, num_works: int, num_images: int) -> int:
    """Return the bytes of weights, gradients, optimizer state and saved activations, in float32.

    Args:
        num_works: works of the training split.
        num_images: images of the training split.
    """
    # floats do not change sizes: without them most suggestions of a space are equal and computed once
    settings = ((key, value) for key, value in vars(recipe).items() if key not in NOT_OF_SIZES)
    sizes = tuple((key, value) for key, value in settings if not isinstance(value, float))
    frozen, family = recipe.frozen_backbone, type(recipe)
    weights, trained, per_image = _sizes(sizes, family, frozen, num_works)  # type: ignore[arg-type]  # it is hashable
    works, images = recipe.batch_shape(num_works, num_images)
    at_once = min(recipe.micro_batch or works * images, works * images)
    return weights + (1 + STATES_PER_WEIGHT[recipe.optimizer]) * trained + at_once * per_image


@cache
def _sizes(
    settings: tuple[tuple[str, Any], ...], family: type[Recipe], frozen: bool, num_works: int
) -> tuple[int, int, int]:
    """Return the bytes of all weights, of the trained weights, and of the saved activations of one image."""
    recipe = family(name="any", scale="tiny", lr=1.0, pretrained=False, frozen_backbone=frozen, **dict(settings))
    with torch.device("meta"):
        model = build_model(recipe, num_works, least_num_words(recipe)).train()
    for module in model.modules():
        if isinstance(module, InputStep):
            module.erase_probability = 0.0  # it samples values, which meta tensors cannot hold
    weights = list(model.parameters())
    trained = sum(weight.nbytes for weight in weights if weight.requires_grad)
    return sum(weight.nbytes for weight in weights), trained, _bytes_per_image(recipe, model)


def _bytes_per_image(recipe: Recipe, model: Any) -> int:
    """Return the bytes that autograd saves for one image."""
    kept: dict[int, Tensor] = {}  # by storage; references keep storages from being reused

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    text = _text_tokens(recipe)
    images_BHWC = torch.empty(IMAGES_AT_ONCE, *recipe.size, 3, dtype=torch.uint8, device="meta")
    words_BL = torch.zeros(IMAGES_AT_ONCE, text, dtype=torch.int64, device="meta") if text else None
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = model(images_BHWC, words_BL)  # keeps the saved tensors alive until they are counted
    own = {weight.untyped_storage()._cdata for weight in model.parameters()}
    del outputs
    saved = sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in own)
    return saved // IMAGES_AT_ONCE


def _text_tokens(recipe: Recipe) -> int:
    return recipe.text_tokens if isinstance(recipe, AnimesionRecipe) else 0
