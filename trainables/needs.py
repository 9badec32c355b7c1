"""Which of many recipes is the largest: what a training holds in memory, from the shapes of its model alone.

No weight is made and no image read, so that hundreds can be compared. How large one really is, `one_step.py` measures.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from trainables.listing import NOT_OF_SIZES
from trainables.models import build_model
from trainables.models.input_step import InputStep
from trainables.recipes.animesion import AnimesionRecipe
from trainables.recipes.recipe import Recipe
from trainables.text import least_num_words

# weights and gradients aside: momentum, or the two means of Adam
STATES_PER_WEIGHT = {"sgd": 1, "adam": 2, "adamw": 2}
IMAGES_AT_ONCE = 2  # the fewest that batch norms train on


def bytes_held(recipe: Recipe, num_works: int) -> int:
    """Weights, gradients, the optimizer's state and the activations that wait for the way back, as float32."""
    # fractions are no sizes: without them most draws of a space are equal, and are counted once
    settings = ((key, value) for key, value in vars(recipe).items() if key not in NOT_OF_SIZES)
    sizes = tuple((key, value) for key, value in settings if not isinstance(value, float))
    frozen, family = recipe.frozen_backbone, type(recipe)
    weights, trained, per_image = _sizes(sizes, family, frozen, num_works)  # type: ignore[arg-type]  # it is hashable
    works, images = recipe.batch_shape(num_works)
    at_once = min(recipe.micro_batch or works * images, works * images)
    return weights + (1 + STATES_PER_WEIGHT[recipe.optimiser]) * trained + at_once * per_image


@cache
def _sizes(
    settings: tuple[tuple[str, Any], ...], family: type[Recipe], frozen: bool, num_works: int
) -> tuple[int, int, int]:
    """Bytes of all weights, of those that are trained, and of what autograd keeps of one image."""
    recipe = family(name="any", scale="tiny", lr=1.0, pretrained=False, frozen_backbone=frozen, **dict(settings))
    with torch.device("meta"):
        model = build_model(recipe, num_works, least_num_words(recipe)).train()
    for module in model.modules():
        if isinstance(module, InputStep):
            module.erase_probability = 0.0  # it draws numbers, which tensors without values cannot
    weights = list(model.parameters())
    trained = sum(weight.nbytes for weight in weights if weight.requires_grad)
    return sum(weight.nbytes for weight in weights), trained, _bytes_per_image(recipe, model)


def _bytes_per_image(recipe: Recipe, model: Any) -> int:
    """What autograd keeps of one image."""
    kept: dict[int, Tensor] = {}  # by the memory that they would share; held, so that none is used twice

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    size, text = recipe.image_size, _text_tokens(recipe)
    images_BHWC = torch.empty(IMAGES_AT_ONCE, size, size, 3, dtype=torch.uint8, device="meta")
    words_BL = torch.zeros(IMAGES_AT_ONCE, text, dtype=torch.int64, device="meta") if text else None
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = model(images_BHWC, words_BL)  # alive until all is counted, and with it what it keeps
    own = {weight.untyped_storage()._cdata for weight in model.parameters()}
    del outputs
    saved = sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in own)
    return saved // IMAGES_AT_ONCE


def _text_tokens(recipe: Recipe) -> int:
    return recipe.text_tokens if isinstance(recipe, AnimesionRecipe) else 0
