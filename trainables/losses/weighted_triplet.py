"""AGW's weighted regularized triplet (WRT): all pairs of a batch, hard pairs weighted more, no margin.

B batch, D width.
"""

import torch
from torch import Tensor
from torch.nn import functional

from trainables.losses.distances import pairwise_distances

EPSILON = 1e-6  # of the weights in AGW's code


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
