"""The optimiser and its parameter groups: weights, and biases with a learning rate of their own."""

import torch
from torch import nn

from trainables.recipes.recipe import Recipe
from trainables.schedule import learning_rate


def build_optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD or AdamW over all that trains; each group's `lr_factor` is its learning rate over the recipe's."""
    trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for name, weight in trained if not name.endswith("bias")], "lr_factor": 1.0},
        {"params": [weight for name, weight in trained if name.endswith("bias")], "lr_factor": recipe.bias_lr_factor},
    ]
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    return torch.optim.AdamW(groups, lr=recipe.lr, weight_decay=recipe.weight_decay)


def set_learning_rate(optimiser: torch.optim.Optimizer, recipe: Recipe, epoch: int) -> None:
    """Give every group its learning rate of this epoch, counted from 1."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(recipe, epoch, group["lr_factor"])
