"""The settings of a recipe for the optimizer, the learning rate and the number of epochs."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from trainables.recipes.checks import above_zero, at_least_zero, require


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """The optimizer and its learning rate schedule; trainables/training/schedule.py has the formulas."""

    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: float
    momentum: float = 0.9  # of SGD; Adam and AdamW use torch's default betas
    weight_decay: float = 1e-4
    decay_vectors: bool = True  # whether biases and norm scales have weight decay, as in the papers
    bias_lr_factor: float = 1.0  # learning rate of biases relative to other weights
    layer_lr_decay: float = 1.0  # learning rate of each layer relative to the layer above it; 1: equal
    clip_norm: float | None = None  # maximum norm of the gradient of all weights; None: no clipping
    ema_decay: float | None = None  # of a moving average of the weights, which is evaluated and saved; None: off

    schedule: Literal["cosine", "transreid", "multistep", "agw", "step_cosine"] = "cosine"
    warmup_epochs: int = 5
    warmup_start: float = 0.01  # the fraction of lr at which the warm-up starts
    warmup_steps: int = 0  # of step_cosine, which ignores warmup_epochs
    milestones: tuple[int, ...] = ()  # of multistep and agw: numbers of epochs after which lr falls
    lr_fall: float = 0.1  # of multistep and agw: factor of lr at each milestone
    epochs: int = 100
    train_mode_epochs: int | None = None  # then dropout is off and batch norm is frozen; None: train mode always


def check_optimization(recipe: Any) -> None:
    """Raise an Error if the optimizer settings are invalid."""
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
