"""How a recipe's weights are updated: optimizer, learning rates, and how long."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from trainables.recipes.checks import above_zero, at_least_zero, require


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """The optimizer and its learning rate from epoch to epoch; the laws stand in trainables/schedule.py."""

    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: float
    momentum: float = 0.9  # of SGD; the others keep torch's betas
    weight_decay: float = 1e-4
    decay_vectors: bool = True  # whether biases and the scales of norms decay too, as in the papers
    bias_lr_factor: float = 1.0  # the learning rate of biases is this many times the others'
    layer_lr_decay: float = 1.0  # each layer's learning rate is this many times that of the one above it; 1: equal
    clip_norm: float | None = None  # longest gradient of all weights together; None: as it comes
    ema_decay: float | None = None  # the weights' running mean is what is evaluated and kept; None: the weights are

    schedule: Literal["cosine", "transreid", "multistep", "agw", "step_cosine"] = "cosine"
    warmup_epochs: int = 5
    warmup_start: float = 0.01  # the fraction of lr that the warm-up begins at
    warmup_steps: int = 0  # of step_cosine, which counts no epochs
    milestones: tuple[int, ...] = ()  # of multistep and agw: whole epochs after which lr falls
    lr_fall: float = 0.1  # of multistep and agw: lr is multiplied by it at each milestone
    epochs: int = 100
    train_mode_epochs: int | None = None  # dropout and batch statistics stop after so many; None: never


def check_optimization(recipe: Any) -> None:
    """Refuse settings that nothing can be trained with."""
    above_zero(recipe, "lr", "bias_lr_factor", "layer_lr_decay", "lr_fall", "epochs")
    at_least_zero(recipe, "weight_decay", "momentum", "warmup_epochs", "warmup_start", "warmup_steps")
    require(recipe, "momentum", recipe.momentum < 1, "below 1")
    require(recipe, "layer_lr_decay", recipe.layer_lr_decay <= 1, "at most 1")
    require(recipe, "warmup_start", recipe.warmup_start <= 1, "at most 1")
    ascending = list(recipe.milestones) == sorted(set(recipe.milestones)) and all(at > 0 for at in recipe.milestones)
    require(recipe, "milestones", ascending, "integers above 0, each larger than the one before")
    if recipe.clip_norm is not None:
        above_zero(recipe, "clip_norm")
    if recipe.ema_decay is not None:
        holds = math.isfinite(recipe.ema_decay) and 0 < recipe.ema_decay < 1
        require(recipe, "ema_decay", holds, "none, or between 0 and 1")
    if recipe.train_mode_epochs is not None:
        require(recipe, "train_mode_epochs", recipe.train_mode_epochs >= 1, "none, or at least 1")
