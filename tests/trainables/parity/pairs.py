"""A model of ours and the restated one with equal weights, and batches for both.

B batch, H W pixels, C channels, L text length.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tests.trainables.parity.our_names import give_ours, rules_of
from tests.trainables.parity.shapes import NUM_WORDS, NUM_WORKS, restate
from trainables.models import build_model
from trainables.models.model import Model
from trainables.recipes import get_recipe
from trainables.recipes.settings import override

SHAKE = 0.05  # std of what is added to every weight, so that none is 0 and no two are alike


@dataclass
class Pair:
    """Ours and the restated network of one recipe."""

    recipe: Any
    ours: Model
    theirs: nn.Module


def make_pair(name: str, *, noisy: bool = False, **settings: object) -> Pair:
    """Both networks with the same weights, none of them 0, without erasing, and unless noisy without dropout."""
    recipe: Any = get_recipe(name)
    calm = {"drop_path": 0.0} if hasattr(recipe, "drop_path") and not noisy else {}
    recipe = override(recipe, {"erase_probability": 0.0, **calm, **settings})
    torch.manual_seed(1)
    theirs = restate(recipe)
    ours = build_model(recipe, NUM_WORKS, NUM_WORDS if getattr(recipe, "text_tokens", 0) else 0)
    shake(theirs)
    give_ours(ours, theirs, rules_of(recipe.system, theirs))
    if not noisy:
        for part in [*ours.modules(), *theirs.modules()]:
            if isinstance(part, nn.Dropout):
                part.p = 0.0
    return Pair(recipe, ours, theirs)


def shake(network: nn.Module) -> None:
    """Move every weight and statistic a little from where it starts."""
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                noise = SHAKE * torch.randn_like(value)
                value += noise.abs() if name.endswith("running_var") else noise


def images_of(recipe: Any, count: int) -> tuple[Tensor, Tensor]:
    """Random uint8 images BHWC as ours reads them, and BCHW as upstream's ToTensor and Normalize give them."""
    size = recipe.image_size
    images_BHWC = torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8)
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (recipe.pixel_mean, recipe.pixel_std))
    return images_BHWC, (images_BHWC.permute(0, 3, 1, 2) / 255 - mean) / std


def words_of(recipe: Any, count: int) -> Tensor | None:
    """Texts of different lengths: a mark, words, a mark, padding; some words are hidden (1)."""
    length = getattr(recipe, "text_tokens", 0)
    if not length:
        return None
    words_BL = torch.randint(5, NUM_WORDS, (count, length))
    words_BL[torch.rand(count, length) < 0.3] = 1
    words_BL[:, 0] = 2
    for row, end in enumerate(range(length - 1, length - 1 - count, -1)):
        words_BL[row, max(end, 1)] = 3
        words_BL[row, max(end, 1) + 1 :] = 0
    return words_BL


def outputs_of(theirs: nn.Module, images: Tensor, words_BL: Tensor | None) -> dict[str, Any]:
    """What the restated network gives, `logits` always a list of branches."""
    given: Any = theirs(images) if words_BL is None else theirs(images, words_BL)
    result: Mapping[str, Any] = given if isinstance(given, Mapping) else {"logits": given}
    logits = result["logits"]
    return {**result, "logits": logits if isinstance(logits, list) else [logits]}
