"""Squared distances of features, and iCartoonFace's official Rank@1: is a partner nearer than every distractor?

B, N and M images, D feature dimension.
"""

import numpy as np

from trainables.metrics.cross_role import Floats

PAIRS_AT_ONCE = 1024


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


def rank1_of_pairs(probe_ND: Floats, partner_ND: Floats, distractors_MD: Floats) -> float:
    """Return the fraction of pairs whose second image is nearer to the first, by cosine, than any distractor.

    Other labeled images are not ranked: each probe searches for its partner among the distractors, and a distractor at
    the same distance ranks before the partner. Follows a copy of the authors' evaluation script.
    """
    probe_ND, partner_ND, distractors_MD = map(_of_length_1, (probe_ND, partner_ND, distractors_MD))
    right = 0
    for start in range(0, len(probe_ND), PAIRS_AT_ONCE):
        probe_BD = probe_ND[start : start + PAIRS_AT_ONCE]
        partner_B = np.einsum("bd,bd->b", probe_BD, partner_ND[start : start + PAIRS_AT_ONCE])
        nearest_B = (probe_BD @ distractors_MD.T).max(axis=1, initial=-np.inf)
        right += int((partner_B > nearest_B).sum())
    return right / len(probe_ND)


def _of_length_1(features_ND: Floats) -> Floats:
    lengths_N1 = np.linalg.norm(features_ND, axis=1, keepdims=True)
    normalized: Floats = features_ND / np.maximum(lengths_N1, np.finfo(features_ND.dtype).tiny)
    return normalized
