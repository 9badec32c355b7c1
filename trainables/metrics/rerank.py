"""k-reciprocal re-ranking: images that have each other as neighbors rank higher (Zhong et al. 2017, arXiv 1701.08398).

Neighbors are searched for among queries and gallery, as in the authors' code, whose conventions are followed:

- An image is its own first neighbor, so a list of k neighbors has k + 1 images.
- Distances are squared Euclidean, divided by the largest one of the image.
- A neighbor's own neighbors are added if more than two thirds of them are known already.

Labels are not used: junk images are neighbors like others, and only take no rank.

Distances are computed for a block of images at a time, and only neighbors are stored, so that memory does not grow with
the square of the number of images.

Axes: N queries and gallery together, Q queries, G gallery, D feature dimension, B images of a block, K neighbors.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from scipy import sparse
from torch import Tensor

from trainables.metrics.cross_role import Floats
from trainables.metrics.distances import Distances, nearest_columns

# The values of the paper and of AGW's code: k1, k2 and lambda.
NUM_NEIGHBORS = 20
NUM_EXPANDED = 6
WEIGHT_OF_DISTANCE = 0.3

DISTANCES_AT_ONCE = 2**23


class RerankedDistances:
    """Re-ranked distances from queries to a gallery, on the CPU.

    Args:
        query_features: [Q, D], on any device.
        gallery_features: [G, D], on the same device.

    Raises:
        Error: shapes do not match, or a feature is not finite.
    """

    def __init__(self, query_features: Tensor, gallery_features: Tensor) -> None:
        Distances(query_features[:0], gallery_features)  # refuses what does not match
        features_ND = torch.cat([query_features, gallery_features])
        self._among_all = Distances(features_ND, features_ND)
        self.num_queries, self.num_gallery = len(query_features), len(gallery_features)
        encodings = self._encodings()
        self._queries = encodings[: self.num_queries]
        self._gallery = encodings[self.num_queries :].tocsc()

    @property
    def device(self) -> torch.device:
        """Where the distances are."""
        return torch.device("cpu")

    def of(self, queries_B: Tensor) -> Tensor:
        """Return the re-ranked distances [B, G] of these queries."""
        queries = queries_B.numpy()
        jaccard_BG = np.stack([self._jaccard(query) for query in queries])
        plain_BG = self._normalized(queries)[:, self.num_queries :]
        return torch.from_numpy((1 - WEIGHT_OF_DISTANCE) * jaccard_BG + WEIGHT_OF_DISTANCE * plain_BG)

    def _jaccard(self, query: int) -> Floats:
        """Return the Jaccard distances from a query's neighbors to those of each gallery image, [G]."""
        queries, gallery = self._queries, self._gallery
        own = slice(queries.indptr[query], queries.indptr[query + 1])
        neighbors = queries.indices[own]
        starts, lengths = gallery.indptr[neighbors], gallery.indptr[neighbors + 1] - gallery.indptr[neighbors]
        places = np.arange(lengths.sum()) + np.repeat(starts - (lengths.cumsum() - lengths), lengths)
        both = np.minimum(np.repeat(queries.data[own], lengths), gallery.data[places])
        shared_G = np.bincount(gallery.indices[places], both, self.num_gallery)
        distances_G: Floats = 1 - shared_G / (2 - shared_G)  # the weights of every image sum to 1
        return distances_G

    def _encodings(self) -> sparse.csr_array:
        """Return the weights of the neighbors of every image, [N, N]: the mean over its nearest images."""
        neighbors_NK = self._neighbors()
        num = len(neighbors_NK)
        weights = self._weights(reciprocal_neighbors(neighbors_NK))
        nearest_NK = neighbors_NK[:, :NUM_EXPANDED]
        values = np.full(nearest_NK.size, 1 / nearest_NK.shape[1])
        starts = np.arange(0, nearest_NK.size + 1, nearest_NK.shape[1])
        nearest = sparse.csr_array((values, nearest_NK.ravel(), starts), shape=(num, num))
        return nearest @ weights

    def _neighbors(self) -> npt.NDArray[np.int64]:
        """Return the nearest images of each, [N, K], itself first."""
        num_neighbors, found = min(NUM_NEIGHBORS + 1, self._among_all.num_gallery), []
        for images_B, distances_BN in self._blocks():
            distances_BN[np.arange(len(images_B)), images_B] = -1  # before its copies
            found.append(nearest_columns(distances_BN, num_neighbors))
        return np.concatenate(found)

    def _weights(self, neighbors: list[npt.NDArray[np.int64]]) -> sparse.csr_array:
        """Return exp(-distance) of each image's reciprocal neighbors, divided by their sum, [N, N]."""
        values = []
        for images_B, distances_BN in self._blocks():
            for image, distances_N in zip(images_B, distances_BN, strict=True):
                near = np.exp(-distances_N[neighbors[image]].astype(np.float64))
                values.append(near / near.sum())
        starts = np.cumsum([0, *map(len, neighbors)])
        entries = np.concatenate(values), np.concatenate(neighbors), starts
        return sparse.csr_array(entries, shape=(len(neighbors), len(neighbors)))

    def _blocks(self) -> Iterator[tuple[npt.NDArray[np.int64], Floats]]:
        """Yield some images and their distances to all, [B, N], until all had their turn."""
        num = self._among_all.num_gallery
        for start in range(0, num, max(1, DISTANCES_AT_ONCE // num)):
            images_B = np.arange(start, min(num, start + max(1, DISTANCES_AT_ONCE // num)))
            yield images_B, self._normalized(images_B)

    def _normalized(self, images_B: npt.NDArray[np.int64]) -> Floats:
        """Return the squared distances [B, N] to all images, divided by each row's largest."""
        distances_BN: Floats = self._among_all.of(torch.from_numpy(images_B).to(self._among_all.device)).cpu().numpy()
        distances_BN -= distances_BN[np.arange(len(images_B)), images_B, None]  # the missing norm; 0 to itself
        distances_BN = np.maximum(distances_BN, 0, out=distances_BN)
        largest_B1 = distances_BN.max(axis=1, keepdims=True)
        distances_BN /= np.where(largest_B1 > 0, largest_B1, 1)
        return distances_BN


def reciprocal_neighbors(neighbors_NK: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Return each image's expanded k-reciprocal neighbors (section 3.2 of the paper), ascending.

    Args:
        neighbors_NK: the nearest images of each, itself among them, from near to far.
    """
    whole = _mutual(neighbors_NK)
    half = _mutual(neighbors_NK[:, : round(NUM_NEIGHBORS / 2) + 1])
    found = []
    for own in whole:
        added = [half[image] for image in own if 3 * len(half[image] & own) > 2 * len(half[image])]
        found.append(np.array(sorted(own.union(*added)), dtype=np.int64))
    return found


def _mutual(neighbors_NK: npt.NDArray[np.int64]) -> list[set[int]]:
    """Return the neighbors of each image that have it among theirs."""
    known = [set(row) for row in neighbors_NK.tolist()]
    return [{other for other in own if image in known[other]} for image, own in enumerate(known)]
