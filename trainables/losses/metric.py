"""Losses over embeddings: a factory for each `metric_loss` of `registry`.

Features are float32, because distances would lose their precision to cancellation in bfloat16.

B batch, D width.
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from trainables.losses.contrastive import circle_loss, supcon_loss
from trainables.losses.triplet import (
    hard_margin_triplet,
    soft_margin_triplet,
    weighted_triplet,
    weighted_triplet_as_agw,
)
from trainables.recipes.recipe import RankingRecipe

LossFunction = Callable[[Tensor, Tensor], Tensor]  # (features BD, works B) -> the loss, a mean over the batch


def soft_triplet(recipe: RankingRecipe) -> LossFunction:
    """Return the batch-hard triplet loss with a soft margin."""
    return soft_margin_triplet


def triplet(recipe: RankingRecipe) -> LossFunction:
    """Return the batch-hard triplet loss with the margin `metric_margin`."""
    return partial(hard_margin_triplet, margin=recipe.metric_margin)


def wrt(recipe: RankingRecipe) -> LossFunction:
    """Return AGW's weighted regularized triplet loss."""
    return weighted_triplet


def wrt_agw(recipe: RankingRecipe) -> LossFunction:
    """Return AGW's weighted regularized triplet loss in the arithmetic of its code."""
    return weighted_triplet_as_agw


def circle(recipe: RankingRecipe) -> LossFunction:
    """Return the circle loss: Sun et al. 2020 (arXiv 2002.10857), eq. 6.

    For re-identification the paper uses a margin of 0.25 and a scale of 256.
    """
    return partial(circle_loss, margin=recipe.metric_margin, scale=recipe.metric_scale)


def supcon(recipe: RankingRecipe) -> LossFunction:
    """Return the supervised contrastive loss: Khosla et al. 2020 (arXiv 2004.11362), eq. 2."""
    return partial(supcon_loss, temperature=recipe.temperature)
