"""Triplet losses over Euclidean distances of unnormalized features.

- Batch-hard (Hermans et al. 2017, arXiv 1703.07737, eq. 5): each image with its farthest positive and its nearest
  negative. An image without a negative in the batch has a loss of 0. An image that is the only one of its work is its
  own positive, as in TransReID and AGW.
- Weighted regularized (WRT, AGW): all pairs of a batch, hard pairs weighted more, no margin.

B batch, D width.
"""

import torch
from torch import Tensor
from torch.nn import functional

EPSILON = 1e-6  # of the weights in AGW's code


def soft_margin_triplet(features_BD: Tensor, works_B: Tensor) -> Tensor:
    """Return the batch mean of log(1 + exp(farthest positive - nearest negative))."""
    return functional.softplus(_gaps(features_BD, works_B)).mean()


def hard_margin_triplet(features_BD: Tensor, works_B: Tensor, margin: float) -> Tensor:
    """Return the batch mean of max(0, farthest positive - nearest negative + margin)."""
    return (_gaps(features_BD, works_B) + margin).clamp(min=0).mean()


def _gaps(features_BD: Tensor, works_B: Tensor) -> Tensor:
    """Return the distance of the farthest positive minus that of the nearest negative, B; -inf without a negative."""
    distances_BB = pairwise_distances(features_BD)
    same_BB = works_B[:, None] == works_B
    farthest_B = torch.where(same_BB, distances_BB, 0.0).amax(dim=1)
    nearest_B = torch.where(same_BB, torch.inf, distances_BB).amin(dim=1)
    return farthest_B - nearest_B


def weighted_triplet(features_BD: Tensor, works_B: Tensor) -> Tensor:
    """Return the batch mean of log(1 + exp(sum of w+ d over positives - sum of w- d over negatives)).

    Ye et al. 2021 (arXiv 2001.04193), eq. 7 to 9. w+ is the softmax of the distances d to the positives, which include
    the image itself; w- is the softmax of the negated distances to the negatives. Images without a negative are
    excluded from the mean.
    """
    distances_BB = pairwise_distances(features_BD)
    same_BB = works_B[:, None] == works_B
    alone_B = same_BB.all(dim=1)
    near_BB = torch.softmax(torch.where(same_BB, distances_BB, -torch.inf), dim=1)
    # the softmax of a row of -inf would be NaN, and so would its gradient
    others_BB = torch.where(same_BB & ~alone_B[:, None], -torch.inf, -distances_BB)
    gaps_B = ((near_BB - torch.softmax(others_BB, dim=1)) * distances_BB).sum(dim=1)
    losses_B = torch.where(alone_B, 0.0, functional.softplus(gaps_B))
    return losses_B.sum() / (~alone_B).sum().clamp(min=1)


def weighted_triplet_as_agw(features_BD: Tensor, works_B: Tensor) -> Tensor:
    """Return the loss in the arithmetic of AGW's code, which ignores the negatives if all of them are far.

    Its softmax subtracts a maximum that includes the masked pairs, whose entries are 0, and adds 1e-6 to the sum of the
    exponentials. If all negatives are farther than about 13, their weights therefore vanish.
    """
    distances_BB = pairwise_distances(features_BD)
    same_BB = (works_B[:, None] == works_B).float()
    positive_B = (_upstream_weights(distances_BB * same_BB, same_BB) * distances_BB).sum(dim=1)
    other_BB = 1 - same_BB
    negative_B = (_upstream_weights(-distances_BB * other_BB, other_BB) * distances_BB).sum(dim=1)
    # not softplus: as in AGW's code, this overflows above a difference of 88 in float32
    return functional.soft_margin_loss(negative_B - positive_B, torch.ones_like(positive_B))


def _upstream_weights(masked_BB: Tensor, mask_BB: Tensor) -> Tensor:
    exponentials_BB = torch.exp(masked_BB - masked_BB.amax(dim=1, keepdim=True)) * mask_BB
    return exponentials_BB / (exponentials_BB.sum(dim=1, keepdim=True) + EPSILON)


def pairwise_distances(features_BD: Tensor) -> Tensor:
    """Return Euclidean distances, B x B, clamped to at least 1e-6, because the square root has no gradient at 0."""
    norms_B = features_BD.square().sum(dim=1)
    squares_BB = norms_B[:, None] + norms_B - 2 * features_BD @ features_BD.T
    return squares_BB.clamp(min=1e-12).sqrt()
