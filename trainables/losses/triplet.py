"""Batch-hard triplet losses: each image against its farthest positive and its nearest negative.

Hermans et al. 2017 (arXiv 1703.07737), eq. 5, Euclidean distances of the features as they come. An image without a
negative in the batch counts as 0; one without another of its work is a positive of its own, as in TransReID and AGW.

B batch, D width.
"""

import torch
from torch import Tensor
from torch.nn import functional

from trainables.losses.distances import pairwise_distances


def soft_margin_triplet(features_BD: Tensor, works_B: Tensor) -> Tensor:
    """Mean over the batch of log(1 + exp(farthest positive - nearest negative))."""
    return functional.softplus(_gaps(features_BD, works_B)).mean()


def hard_margin_triplet(features_BD: Tensor, works_B: Tensor, margin: float) -> Tensor:
    """Mean over the batch of max(0, farthest positive - nearest negative + margin)."""
    return (_gaps(features_BD, works_B) + margin).clamp(min=0).mean()


def _gaps(features_BD: Tensor, works_B: Tensor) -> Tensor:
    """The distance of the farthest positive less that of the nearest negative, B; -infinity without a negative."""
    distances_BB = pairwise_distances(features_BD)
    same_BB = works_B[:, None] == works_B
    farthest_B = torch.where(same_BB, distances_BB, 0.0).amax(dim=1)
    nearest_B = torch.where(same_BB, torch.inf, distances_BB).amin(dim=1)
    return farthest_B - nearest_B
