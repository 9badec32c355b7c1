"""Losses over all pairs of a batch, by the cosine of their features: circle and supervised contrastive.

Pairs are selected by masks and never by their indices, whose number only the device knows: on a GPU the host would wait
for it in every branch of every step. An image without a positive, and a loss of 0, are excluded from the mean, as in
pytorch-metric-learning.

B batch, D width.
"""

import torch
from torch import Tensor
from torch.nn import functional


def circle_loss(features_BD: Tensor, works_B: Tensor, margin: float, scale: float) -> Tensor:
    """Return the batch mean of log(1 + sum over negatives of exp(s [cos + m]+ (cos - m)) x the sum over positives).

    Sun et al. 2020 (arXiv 2002.10857), eq. 6; a positive adds exp(-s [1 + m - cos]+ (cos - (1 - m))). No gradient flows
    through the weights in square brackets.

    Args:
        features_BD: of any length; their cosines are used.
        works_B: the work of each image.
        margin: m.
        scale: s.
    """
    cosines_BB = _cosines(features_BD)
    positive_BB, negative_BB = _pairs(works_B)
    pulled_BB = -scale * (1 + margin - cosines_BB.detach()).clamp(min=0) * (cosines_BB - (1 - margin))
    pushed_BB = scale * (cosines_BB.detach() + margin).clamp(min=0) * (cosines_BB - margin)
    losses_B = functional.softplus(_logsumexp(pulled_BB, positive_BB) + _logsumexp(pushed_BB, negative_BB))
    return _mean(losses_B, positive_BB.any(dim=1) & negative_BB.any(dim=1))


def supcon_loss(features_BD: Tensor, works_B: Tensor, temperature: float) -> Tensor:
    """Return the batch mean of the mean over positives of -log(exp(cos / T) / the sum over all other images).

    Khosla et al. 2020 (arXiv 2004.11362), eq. 2.
    """
    logits_BB = _cosines(features_BD) / temperature
    positive_BB, negative_BB = _pairs(works_B)
    log_probs_BB = logits_BB - _logsumexp(logits_BB, positive_BB | negative_BB)[:, None]
    num_positives_B = positive_BB.sum(dim=1)
    losses_B = -(positive_BB * log_probs_BB).sum(dim=1) / num_positives_B.clamp(min=1)
    return _mean(losses_B, (num_positives_B > 0) & negative_BB.any())


def _cosines(features_BD: Tensor) -> Tensor:
    unit_BD = functional.normalize(features_BD, dim=1)
    return unit_BD @ unit_BD.T


def _pairs(works_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return which pairs are positive and which are negative; an image is no pair with itself."""
    same_BB = works_B[:, None] == works_B
    itself_BB = torch.eye(len(works_B), dtype=torch.bool, device=works_B.device)
    return same_BB & ~itself_BB, ~same_BB


def _logsumexp(values_BB: Tensor, mask_BB: Tensor) -> Tensor:
    """Return the log of the sum of exponentials over the pairs of the mask; over all pairs if a row has none."""
    # the gradient of a row of -inf would be NaN
    taken_BB = mask_BB | ~mask_BB.any(dim=1, keepdim=True)
    return torch.where(taken_BB, values_BB, -torch.inf).logsumexp(dim=1)


def _mean(losses_B: Tensor, counted_B: Tensor) -> Tensor:
    """Return the mean of the counted losses above 0; 0 if there is none."""
    counted_B = counted_B & (losses_B > 0)
    return torch.where(counted_B, losses_B, 0.0).sum() / counted_B.sum().clamp(min=1)
