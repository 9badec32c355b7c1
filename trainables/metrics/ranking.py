"""The ranks of every query's positives, computed on the device of the features.

A rank is one plus the number of closer images. Rows of distances are sorted as plain values and the positives are
looked up in them, so no matrix of indices is needed: those make evaluators slow and large. Only for a positive whose
distance occurs again in its row, the images before it are counted one by one.

Axes: Q queries, G gallery, B queries of one chunk, S positives of a query, N positives of all queries of a chunk, T
different tied distances of a chunk's rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainables.metrics.distances import GalleryDistances
from trainables.metrics.labels import Codes, Labels

# Queries whose distances are in memory at once: enough for a fast matrix product, little compared with the features.
CHUNK_QUERIES = 256
# Distances in memory at once on a GPU, which is slow with small chunks; sorting takes 20 bytes for each.
GPU_DISTANCES = 2**24


@dataclass(frozen=True)
class Chunk:
    """Some queries, their distances to the gallery, and their positives row by row; junk is at infinite distance."""

    queries_B: Codes
    distances_BG: Tensor
    rows_N: Codes
    images_N: Codes
    num_positives_B: Codes


def chunks(distances: GalleryDistances, labels: Labels) -> Iterator[Chunk]:
    """Yield all queries that have a positive, ordered by work; the next chunk overwrites the distances."""
    num_positives_Q = labels.num_positives_Q()
    queries = np.argsort(labels.query_works_Q, kind="stable")
    queries = queries[num_positives_Q[queries] > 0]
    order_G = np.argsort(labels.gallery_works_G, kind="stable")
    sorted_works_G = labels.gallery_works_G[order_G]
    size = (
        CHUNK_QUERIES if distances.device.type == "cpu" else max(CHUNK_QUERIES, GPU_DISTANCES // max(1, len(order_G)))
    )
    for start in range(0, len(queries), size):
        queries_B = queries[start : start + size]
        works_B, roles_B = labels.query_works_Q[queries_B], labels.query_roles_Q[queries_B]
        first_B, end_B = (sorted_works_G.searchsorted(works_B, side) for side in ("left", "right"))
        rows_N, places_N = _enumerate(end_B - first_B)
        images_N = order_G[first_B[rows_N] + places_N]  # all images of the query's work
        is_junk_N = labels.gallery_roles_G[images_N] == roles_B[rows_N]
        distances_BG = distances.of(_on(distances.device, queries_B))
        distances_BG[_on(distances.device, rows_N[is_junk_N]), _on(distances.device, images_N[is_junk_N])] = torch.inf
        yield Chunk(queries_B, distances_BG, rows_N[~is_junk_N], images_N[~is_junk_N], num_positives_Q[queries_B])


def positive_ranks(distances: GalleryDistances, labels: Labels) -> Iterator[tuple[Codes, Codes]]:
    """Yield, chunk by chunk, the ascending ranks of the positives [B, S] and their number [B].

    Ranks beyond a query's number of positives mean nothing.
    """
    for chunk in chunks(distances, labels):
        yield _ranks(chunk).cpu().numpy(), chunk.num_positives_B


def nearest(chunk: Chunk) -> Codes:
    """Return the gallery of each query from near to far, [B, G], with -1 for junk at the end of each row."""
    sorted_BG, nearest_BG = chunk.distances_BG.sort(dim=1, stable=True)
    found: Codes = nearest_BG.masked_fill_(sorted_BG.isinf(), -1).cpu().numpy()
    return found


def _ranks(chunk: Chunk) -> Tensor:
    """Return the ascending ranks of the positives, [B, S]."""
    distances_BG, device = chunk.distances_BG, chunk.distances_BG.device
    rows_N, images_N = _on(device, chunk.rows_N), _on(device, chunk.images_N)
    places_N = _on(device, _enumerate(chunk.num_positives_B)[1])
    wanted_BS = distances_BG.new_full((len(distances_BG), int(chunk.num_positives_B.max())), torch.inf)
    wanted_BS[rows_N, places_N] = distances_BG[rows_N, images_N]
    wanted_BS, sorted_BG = _sorted(wanted_BS), _sorted(distances_BG)
    closer_BS = torch.searchsorted(sorted_BG, wanted_BS)
    following_BS = (closer_BS + 1).clamp_(max=sorted_BG.shape[1] - 1)
    tied_BS = (sorted_BG.gather(1, following_BS) == wanted_BS) & (following_BS > closer_BS) & wanted_BS.isfinite()
    if tied_BS.any():
        is_positive_BG = torch.zeros_like(distances_BG, dtype=torch.bool)
        is_positive_BG[rows_N, images_N] = True
        closer_BS[tied_BS] += _num_tied_before(distances_BG, is_positive_BG, wanted_BS, tied_BS)
    return closer_BS + 1


def _num_tied_before(distances_BG: Tensor, is_positive_BG: Tensor, wanted_BS: Tensor, tied_BS: Tensor) -> Tensor:
    """Count, for each tied positive, the images at the same distance that come earlier in the gallery.

    Args:
        wanted_BS: the distances of the positives, ascending.
        tied_BS: which of them occur more than once in their row.

    Returns:
        The counts in the order of `tied_BS`, ascending among the positives at one distance.
    """
    is_new_BS = tied_BS.clone()
    is_new_BS[:, 1:] &= wanted_BS[:, 1:] != wanted_BS[:, :-1]
    found = []
    for pairs_T2 in torch.split(is_new_BS.nonzero(), CHUNK_QUERIES):
        rows_T, places_T = pairs_T2.unbind(1)
        is_tied_TG = distances_BG[rows_T] == wanted_BS[rows_T, places_T, None]
        before_TG = is_tied_TG.cumsum(dim=1) - 1
        found.append(before_TG[is_tied_TG & is_positive_BG[rows_T]])
    return torch.cat(found)


def _sorted(values: Tensor) -> Tensor:
    """Return the rows in ascending order; on a CPU, numpy sorts values 12 times as fast as torch."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.numpy(), axis=1))
    return values.sort(dim=1).values


def _enumerate(lengths_B: Codes) -> tuple[Codes, Codes]:
    """Return the row and the position of every entry of rows of these lengths."""
    rows_N = np.repeat(np.arange(len(lengths_B)), lengths_B)
    return rows_N, np.arange(len(rows_N)) - np.repeat(lengths_B.cumsum() - lengths_B, lengths_B)


def _on(device: torch.device, codes: Codes) -> Tensor:
    return torch.from_numpy(codes).to(device)
