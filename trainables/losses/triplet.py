"""Batch-hard triplet losses: each image with its farthest positive and its nearest negative.

Hermans et al. 2017 (arXiv 1703.07737), eq. 5, with Euclidean distances of unnormalized features. An image without a
negative in the batch has a loss of 0. An image that is the only one of its work is its own positive, as in TransReID
and AGW.

B batch, D width.
"""

import torch
from torch import Tensor
from torch.nn import functional

from trainables.losses.distances import pairwise_distances


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
