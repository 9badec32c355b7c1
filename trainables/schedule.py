"""The learning rate of each step: the papers' laws. Epochs are counted from 1, as everywhere; e is an epoch from 0."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from trainables.recipes.recipe import Recipe

FLOOR = 0.002  # of cosine and transreid: the fraction of lr that they end at


@dataclass(frozen=True)
class Moment:
    """Where a training is."""

    epoch: int
    step: int = 0  # within the epoch, from 0
    steps_per_epoch: int = 1


def learning_rate(recipe: Recipe, moment: Moment, factor: float = 1.0) -> float:
    """The learning rate by the recipe's `schedule`.

    Args:
        factor: the group's own learning rate over the recipe's.
    """
    return SCHEDULES[recipe.schedule](recipe, moment, factor)


def multistep(recipe: Recipe, moment: Moment, factor: float) -> float:
    """A linear warm-up, and a drop at each milestone: LSASRD's and PaddleClas's law, and DAF:re's without warm-up.

    Epoch e < warmup_epochs W has start (1 - e/W) + e/W of it, and every epoch lr_fall once for each milestone <= e.
    """
    e = moment.epoch - 1
    falls = sum(milestone <= e for milestone in recipe.milestones)
    return factor * recipe.lr * _risen(recipe, e) * recipe.lr_fall**falls


def agw(recipe: Recipe, moment: Moment, factor: float) -> float:
    """Return AGW's own: `multistep` one epoch ahead, because its scheduler steps when an epoch starts."""
    return multistep(recipe, replace(moment, epoch=moment.epoch + 1), factor)


def cosine(recipe: Recipe, moment: Moment, factor: float) -> float:
    """The same warm-up, then half a cosine over all epochs down to lr / 500: LSASRD's text on TransReID."""
    e = moment.epoch - 1
    if e < recipe.warmup_epochs:
        return factor * recipe.lr * _risen(recipe, e)
    return _half_cosine(recipe, moment.epoch, factor)


def transreid(recipe: Recipe, moment: Moment, factor: float) -> float:
    """TransReID's own: its warm-up is one step on when the first epoch begins, and starts alike for all groups.

    Before epoch t = W: start + t (lr - start) / W; then half a cosine over all epochs, the warm-up not taken off its
    length, down to lr / 500. Start and floor are those of the recipe's lr, whatever the group's.
    """
    if moment.epoch < recipe.warmup_epochs:
        start = recipe.warmup_start * recipe.lr
        return start + moment.epoch * (factor * recipe.lr - start) / recipe.warmup_epochs
    return _half_cosine(recipe, moment.epoch, factor)


def step_cosine(recipe: Recipe, moment: Moment, factor: float) -> float:
    """Animesion's: from 0 in `warmup_steps` steps, then half a cosine over the others down to 0, anew at every step."""
    step = (moment.epoch - 1) * moment.steps_per_epoch + moment.step
    if step < recipe.warmup_steps:
        return factor * recipe.lr * step / recipe.warmup_steps
    num_steps = recipe.epochs * moment.steps_per_epoch
    progress = (step - recipe.warmup_steps) / max(1, num_steps - recipe.warmup_steps)
    return factor * recipe.lr * 0.5 * (1 + math.cos(math.pi * progress))


def _risen(recipe: Recipe, e: int) -> float:
    """The warm-up's part of the learning rate in epoch e."""
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
