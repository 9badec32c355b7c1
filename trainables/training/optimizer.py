"""The optimizer and its parameter groups, each with its own learning rate and weight decay."""

from collections import defaultdict
from collections.abc import Callable

import torch
from torch import nn

from trainables.models.model import Model
from trainables.recipes.recipe import Recipe
from trainables.training.schedule import Moment, learning_rate

KINDS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def build_optimizer(model: Model, recipe: Recipe, criterion: nn.Module | None = None) -> torch.optim.Optimizer:
    """Return the recipe's optimizer over all parameters that are trained.

    Every parameter group has an `lr_factor`: its learning rate relative to the recipe's.

    Args:
        criterion: a module whose parameters are trained too, like those of the head.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    depths = depths_below_head(model) if recipe.layer_lr_decay < 1 else {}
    of_criterion = [] if criterion is None else criterion.named_parameters()
    for name, weight in (*model.named_parameters(), *of_criterion):
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
        fused=True,  # one pass over all weights instead of one per weight
        **settings,
    )


def depths_below_head(model: Model) -> dict[str, int]:
    """Return how many layers below the head each weight of the backbone is; the last layer is 1."""
    layers: dict[str, int] = model.backbone.layers()  # type: ignore[operator]
    num_layers = max(layers.values()) + 1
    return {f"backbone.{name}": num_layers - layer for name, layer in layers.items()}


def set_learning_rate(optimizer: torch.optim.Optimizer, recipe: Recipe, moment: Moment) -> None:
    """Set the learning rate of every group for this position in the training."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(recipe, moment, group["lr_factor"])
