"""The optimizer and its parameter groups, each with a learning rate and a decay of its own."""

from collections import defaultdict
from collections.abc import Callable

import torch
from torch import nn

from trainables.models.model import Model
from trainables.recipes.recipe import Recipe
from trainables.schedule import Moment, learning_rate

KINDS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def build_optimizer(model: Model, recipe: Recipe, losses: nn.Module | None = None) -> torch.optim.Optimizer:
    """SGD, Adam or AdamW over all that trains; each group's `lr_factor` is its learning rate over the recipe's.

    Args:
        losses: whose own weights are trained too, as those of the head are.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    depths = depths_below_head(model) if recipe.layer_lr_decay < 1 else {}
    own = [] if losses is None else losses.named_parameters()
    for name, weight in (*model.named_parameters(), *own):
        if not weight.requires_grad:
            continue
        factor = recipe.bias_lr_factor if name.endswith("bias") else 1.0
        factor *= recipe.layer_lr_decay ** depths.get(name, 0)
        decays = recipe.decay_vectors or weight.ndim > 1
        groups[factor, recipe.weight_decay if decays else 0.0].append(weight)
    settings = {"momentum": recipe.momentum} if recipe.optimizer == "sgd" else {}
    return KINDS[recipe.optimizer](
        [
            {"params": weights, "lr_factor": factor, "weight_decay": decay}
            for (factor, decay), weights in groups.items()
        ],
        lr=recipe.lr,
        fused=True,  # one pass over all weights instead of one for each
        **settings,
    )


def depths_below_head(model: Model) -> dict[str, int]:
    """How many layers each weight of the backbone stands below the head, from 1 on."""
    layers: dict[str, int] = model.backbone.layers()  # type: ignore[operator]
    num_layers = max(layers.values()) + 1
    return {f"backbone.{name}": num_layers - layer for name, layer in layers.items()}


def set_learning_rate(optimizer: torch.optim.Optimizer, recipe: Recipe, moment: Moment) -> None:
    """Give every group its learning rate of this moment."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(recipe, moment, group["lr_factor"])
