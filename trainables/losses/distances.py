"""Distances between all pairs of a batch.

B batch, D width.
"""

from torch import Tensor


def pairwise_distances(features_BD: Tensor) -> Tensor:
    """Return Euclidean distances, B x B, clamped to at least 1e-6, because the square root has no gradient at 0."""
    norms_B = features_BD.square().sum(dim=1)
    squares_BB = norms_B[:, None] + norms_B - 2 * features_BD @ features_BD.T
    return squares_BB.clamp(min=1e-12).sqrt()
