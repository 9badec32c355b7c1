"""The learning rate of each epoch."""

import math

from trainables.recipes.recipe import Recipe


def learning_rate(recipe: Recipe, epoch: int, factor: float = 1.0) -> float:
    """TransReID's schedule at an epoch, counted from 1: a linear warm-up from lr / 100, then a cosine down to lr / 500.

    The cosine runs over all epochs, the warm-up is not taken off its length, as upstream. Upstream warms up over 5
    epochs; here the recipe says how many.

    Args:
        factor: the group's own learning rate over the recipe's; start and floor stay the recipe's, as upstream.
    """
    base = factor * recipe.lr
    if epoch < recipe.warmup_epochs:
        start = 0.01 * recipe.lr
        return start + epoch * (base - start) / recipe.warmup_epochs
    floor = 0.002 * recipe.lr
    return floor + 0.5 * (base - floor) * (1 + math.cos(math.pi * epoch / recipe.epochs))
