"""Average query expansion (Chum et al. 2007) and database augmentation (Arandjelovic and Zisserman 2012).

Q queries, G gallery, D feature dimension, B images of a block, K neighbors.
"""

import torch
from torch import Tensor
from torch.nn import functional

from trainables.metrics.distances import Distances, nearest_columns

DISTANCES_AT_ONCE = 2**23


def expand_features(query_QD: Tensor, gallery_GD: Tensor, num_neighbors: int) -> tuple[Tensor, Tensor]:
    """Replace each query and each gallery image by the mean of itself and its nearest gallery images.

    All neighbors are those of the given features. Labels are not used; ties are in the order of the gallery.

    Args:
        query_QD: unit vectors.
        gallery_GD: unit vectors.
        num_neighbors: K, fewer than the gallery has images; an image is no neighbor of itself.

    Returns:
        The features of queries and gallery, as unit vectors.
    """
    queries = _expanded(query_QD, gallery_GD, num_neighbors, is_gallery=False)
    return queries, _expanded(gallery_GD, gallery_GD, num_neighbors, is_gallery=True)


def _expanded(features_ND: Tensor, gallery_GD: Tensor, num_neighbors: int, *, is_gallery: bool) -> Tensor:
    distances, parts = Distances(features_ND, gallery_GD), []
    images_N = torch.arange(len(features_ND), device=distances.device)
    for images_B in torch.split(images_N, max(1, DISTANCES_AT_ONCE // len(gallery_GD))):
        distances_BG = distances.of(images_B)
        if is_gallery:
            distances_BG[torch.arange(len(images_B)), images_B] = torch.inf
        nearest_BK = torch.from_numpy(nearest_columns(distances_BG.cpu().numpy(), num_neighbors)).to(images_N.device)
        sums_BD = features_ND[images_B] + gallery_GD[nearest_BK].sum(dim=1)
        parts.append(functional.normalize(sums_BD, dim=1))
    return torch.cat(parts)
