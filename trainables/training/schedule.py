"""The learning rate of each step, by the papers' schedules.

Epochs are counted from 1, as everywhere; e is an epoch counted from 0.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from trainables.recipes.recipe import Recipe

FLOOR = 0.002  # cosine and transreid end at this fraction of lr


@dataclass(frozen=True)
class Moment:
    """A position in the training."""

    epoch: int
    step: int = 0  # within the epoch, from 0
    steps_per_epoch: int = 1


def learning_rate(recipe: Recipe, moment: Moment, factor: float = 1.0) -> float:
    """Return the learning rate by the recipe's `schedule`.

    Args:
        factor: the parameter group's learning rate relative to the recipe's.
    """
    return SCHEDULES[recipe.schedule](recipe, moment, factor)


def spans_all_epochs(recipe: Recipe) -> bool:
    """Return whether the learning rate of an epoch depends on the number of epochs."""
    return SCHEDULES[recipe.schedule] not in (multistep, agw)


def multistep(recipe: Recipe, moment: Moment, factor: float) -> float:
    """Warm up linearly, then multiply by lr_fall at each milestone.

    LSASRD and PaddleClas use it, and DAF:re without warm-up. Epoch e < warmup_epochs W has the fraction start (1 - e/W)
    + e/W of the learning rate. Every epoch has one factor lr_fall for each milestone <= e.
    """
    e = moment.epoch - 1
    falls = sum(milestone <= e for milestone in recipe.milestones)
    return factor * recipe.lr * _risen(recipe, e) * recipe.lr_fall**falls


def agw(recipe: Recipe, moment: Moment, factor: float) -> float:
    """Use `multistep` one epoch ahead: AGW's scheduler steps when an epoch starts."""
    return multistep(recipe, replace(moment, epoch=moment.epoch + 1), factor)


def cosine(recipe: Recipe, moment: Moment, factor: float) -> float:
    """Warm up as `multistep`, then follow half a cosine over all epochs down to lr / 500: LSASRD's TransReID text."""
    e = moment.epoch - 1
    if e < recipe.warmup_epochs:
        return factor * recipe.lr * _risen(recipe, e)
    return _half_cosine(recipe, moment.epoch, factor)


def transreid(recipe: Recipe, moment: Moment, factor: float) -> float:
    """Use TransReID's schedule: a warm-up that is one step ahead and starts at the same value for all groups.

    Before epoch t = W: start + t (lr - start) / W. Then half a cosine over all epochs, warm-up included, down to lr /
    500. Start and floor are relative to the recipe's lr, not the group's.
    """
    if moment.epoch < recipe.warmup_epochs:
        start = recipe.warmup_start * recipe.lr
        return start + moment.epoch * (factor * recipe.lr - start) / recipe.warmup_epochs
    return _half_cosine(recipe, moment.epoch, factor)


def step_cosine(recipe: Recipe, moment: Moment, factor: float) -> float:
    """Use Animesion's schedule: rise from 0 in `warmup_steps`, then half a cosine down to 0, updated every step."""
    step = (moment.epoch - 1) * moment.steps_per_epoch + moment.step
    if step < recipe.warmup_steps:
        return factor * recipe.lr * step / recipe.warmup_steps
    num_steps = recipe.epochs * moment.steps_per_epoch
    progress = (step - recipe.warmup_steps) / max(1, num_steps - recipe.warmup_steps)
    return factor * recipe.lr * 0.5 * (1 + math.cos(math.pi * progress))


def _risen(recipe: Recipe, e: int) -> float:
    """Return the warm-up's fraction of the learning rate in epoch e."""
    if e >= recipe.warmup_epochs:
        return 1.0
    return recipe.warmup_start + (1 - recipe.warmup_start) * e / recipe.warmup_epochs


def _half_cosine(recipe: Recipe, epoch: int, factor: float) -> float:
    base, floor = factor * recipe.lr, FLOOR * recipe.lr
    return floor + 0.5 * (base - floor) * (1 + math.cos(math.pi * epoch / recipe.epochs))


SCHEDULES: dict[str, Callable[[Recipe, Moment, float], float]] = {
    "multistep": multistep,
    "agw": agw,
    "cosine": cosine,
    "transreid": transreid,
    "step_cosine": step_cosine,
}
