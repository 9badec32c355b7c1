"""Losses over class logits: cross-entropy, its variants with a margin over cosines, and distillation.

B batch, N works.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from trainables.recipes.recipe import Recipe

LossFunction = Callable[[Tensor, Tensor], Tensor]  # (logits or cosines BN, works B) -> the mean over the batch


def softmax(recipe: Recipe) -> LossFunction:
    """Return cross-entropy with the recipe's label smoothing."""
    return partial(functional.cross_entropy, label_smoothing=recipe.label_smoothing)


def arcface(recipe: Recipe) -> LossFunction:
    """Return cross-entropy over ArcFace's logits."""
    return lambda cosines_BN, works_B: functional.cross_entropy(arcface_logits(cosines_BN, works_B, recipe), works_B)


def cosface(recipe: Recipe) -> LossFunction:
    """Return cross-entropy over CosFace's logits."""
    return lambda cosines_BN, works_B: functional.cross_entropy(cosface_logits(cosines_BN, works_B, recipe), works_B)


def circle(recipe: Recipe) -> LossFunction:
    """Return cross-entropy over the logits of the circle loss."""
    return lambda cosines_BN, works_B: functional.cross_entropy(circle_logits(cosines_BN, works_B, recipe), works_B)


def arcface_logits(cosines_BN: Tensor, works_B: Tensor, recipe: Recipe) -> Tensor:
    """Return ArcFace's logits, B x N: s cos(theta + m) for the true work, s cos(theta) for the others.

    Deng et al. 2019 (arXiv 1801.07698), eq. 3. If theta + m exceeds pi, m sin(m) is subtracted from the cosine of the
    true work instead, as in the authors' code, so that the logit keeps falling with theta.
    """
    true_B1, margin = _of_true_work(cosines_BN, works_B), torch.tensor(recipe.id_margin)
    angle_B1 = torch.acos(true_B1.clamp(-1 + 1e-7, 1 - 1e-7))
    moved_B1 = torch.where(
        angle_B1 + margin <= torch.pi, torch.cos(angle_B1 + margin), true_B1 - margin * torch.sin(margin)
    )
    return recipe.id_scale * cosines_BN.scatter(1, works_B[:, None], moved_B1)


def cosface_logits(cosines_BN: Tensor, works_B: Tensor, recipe: Recipe) -> Tensor:
    """Return CosFace's logits, B x N: s (cos(theta) - m) for the true work, s cos(theta) for the others.

    Wang et al. 2018 (arXiv 1801.09414), eq. 4.
    """
    moved_B1 = _of_true_work(cosines_BN, works_B) - recipe.id_margin
    return recipe.id_scale * cosines_BN.scatter(1, works_B[:, None], moved_B1)


def circle_logits(cosines_BN: Tensor, works_B: Tensor, recipe: Recipe) -> Tensor:
    """Return the circle loss's logits, B x N: each cosine is weighted by its distance from its optimum.

    Sun et al. 2020 (arXiv 2002.10857), section 3.3. True work: s [1 + m - cos]+ (cos - (1 - m)); others: s [cos + m]+
    (cos - m). No gradient flows through the weights in square brackets.
    """
    margin = recipe.id_margin
    true_B1 = _of_true_work(cosines_BN, works_B)
    moved_B1 = (1 + margin - true_B1.detach()).clamp(min=0) * (true_B1 - (1 - margin))
    others_BN = (cosines_BN.detach() + margin).clamp(min=0) * (cosines_BN - margin)
    return recipe.id_scale * others_BN.scatter(1, works_B[:, None], moved_B1)


def _of_true_work(cosines_BN: Tensor, works_B: Tensor) -> Tensor:
    return cosines_BN.gather(1, works_B[:, None])


def distillation_loss(logits_BN: Tensor, teacher_BN: Tensor, temperature: float) -> Tensor:
    """Return the batch mean of T^2 KL(softmax(teacher / T) || softmax(logits / T)).

    Hinton et al. 2015 (arXiv 1503.02531), where T is the temperature. The factor T^2 makes the size of the gradient
    independent of T.
    """
    log_probs_BN = functional.log_softmax(logits_BN / temperature, dim=1)
    teacher_log_probs_BN = functional.log_softmax(teacher_BN / temperature, dim=1)
    divergence = functional.kl_div(log_probs_BN, teacher_log_probs_BN, reduction="batchmean", log_target=True)
    return temperature**2 * divergence
