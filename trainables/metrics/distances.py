"""Distances between features.

B and N images, D feature dimension.
"""

import numpy as np

from trainables.metrics.cross_role import Floats


def squared_distances(first_BD: Floats, second_ND: Floats) -> Floats:
    """Return the squared Euclidean distances, [B, N].

    Args:
        first_BD: centered, as is `second_ND`, on the same point: far from the origin, distances round off.
    """
    first_B1 = np.einsum("bd,bd->b", first_BD, first_BD)[:, None]
    distances_BN: Floats = first_BD @ second_ND.T
    distances_BN *= -2
    distances_BN += first_B1 + np.einsum("nd,nd->n", second_ND, second_ND)
    return np.maximum(distances_BN, 0, out=distances_BN)
