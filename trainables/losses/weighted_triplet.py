"""AGW's weighted regularised triplet (WRT): all pairs of a batch, the hard ones weighted more, no margin.

B batch, D width.
"""

import torch
from torch import Tensor
from torch.nn import functional

EPSILON = 1e-6  # of upstream's weights


def weighted_triplet(features_BD: Tensor, works_B: Tensor) -> Tensor:
    """Mean over the batch of log(1 + exp(sum of w+ d over positives - sum of w- d over negatives)).

    Ye et al. 2021 (arXiv 2001.04193), eq. 7 to 9: w+ is a softmax of the distances to the positives, the image itself
    among them, w- one of the negated distances to the negatives. An image without a negative is left out.
    """
    distances_BB = pairwise_distances(features_BD)
    same_BB = works_B[:, None] == works_B
    valid_B = ~same_BB.all(dim=1)
    away = distances_BB.new_tensor(-torch.inf)
    near_BB = torch.softmax(torch.where(same_BB, distances_BB, away), dim=1)
    far_BB = torch.softmax(torch.where(same_BB, away, -distances_BB)[valid_B], dim=1)
    positive_B = (near_BB * distances_BB).sum(dim=1)[valid_B]
    negative_B = (far_BB * distances_BB[valid_B]).sum(dim=1)
    return functional.softplus(positive_B - negative_B).mean()


def weighted_triplet_as_agw(features_BD: Tensor, works_B: Tensor) -> Tensor:
    """The same in upstream's arithmetic, which loses its negatives where all of them are far.

    The largest value that is subtracted before the exponential is taken over the pairs of the other kind too, whose
    entries are 0, and 1e-6 is added to the sum: with negatives beyond a distance of about 13 their weights vanish.
    """
    distances_BB = pairwise_distances(features_BD)
    same_BB = (works_B[:, None] == works_B).float()
    positive_B = (_upstream_weights(distances_BB * same_BB, same_BB) * distances_BB).sum(dim=1)
    other_BB = 1 - same_BB
    negative_B = (_upstream_weights(-distances_BB * other_BB, other_BB) * distances_BB).sum(dim=1)
    return functional.softplus(positive_B - negative_B).mean()


def pairwise_distances(features_BD: Tensor) -> Tensor:
    """Euclidean distances of all pairs, B x B, none below 1e-6: the root has no gradient at 0."""
    norms_B = features_BD.square().sum(dim=1)
    squares_BB = norms_B[:, None] + norms_B - 2 * features_BD @ features_BD.T
    return squares_BB.clamp(min=1e-12).sqrt()


def _upstream_weights(masked_BB: Tensor, mask_BB: Tensor) -> Tensor:
    exponentials_BB = torch.exp(masked_BB - masked_BB.amax(dim=1, keepdim=True)) * mask_BB
    return exponentials_BB / (exponentials_BB.sum(dim=1, keepdim=True) + EPSILON)
