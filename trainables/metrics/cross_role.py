"""Cross-role retrieval: does an image of one character find other characters of the same work?

Each query ranks the gallery by squared Euclidean distance. Gallery images of the query's own work and role are junk:
they are excluded and take no rank. The other images of its work are its positives. Ties keep the gallery's order. A
query without a positive is not counted.

Rows of distances are sorted as plain values and the positives are looked up in them: a rank is one plus the number of
closer images, so no matrix of indices is needed (those make evaluators slow and large).

Axes: Q queries, G gallery, D feature dimension, B queries of one chunk, S gallery images of one work.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shards_tools.errors import Error
from trainables.metrics.labels import Codes, Labels, as_numpy, read_labels

Floats = npt.NDArray[np.floating[Any]]

# Queries whose distances are in memory at once: enough for a fast matrix product, little compared with the features.
CHUNK_QUERIES = 256
# A gallery whose mean is farther from the origin than this multiple of its spread is shifted; else few bits are lost.
FAR_FROM_ORIGIN = 4.0


@dataclass(frozen=True)
class CrossRoleMetrics:
    """Means over the queries that have a positive, as fractions; NaN if there is none."""

    mAP: float  # mean average precision, not interpolated
    mINP: float  # mean of (number of positives / rank of the last one)
    cmc: dict[int, float]  # rank -> fraction of queries with a positive within that rank
    num_valid_queries: int


def cross_role_metrics(
    query_features: Any,
    gallery_features: Any,
    *,
    query_works: Any,
    gallery_works: Any,
    query_roles: Any,
    gallery_roles: Any,
    ranks: Sequence[int] = (1, 5, 10, 20),
) -> CrossRoleMetrics:
    """Rank the gallery for every query and return mAP, mINP and CMC.

    Args:
        query_features: [Q, D], numpy or torch on any device. Distances are float32; float64 for float64 and integers.
        gallery_features: [G, D].
        query_works: Q integers or strings. `query_roles` is alike, and `gallery_works` and `gallery_roles` have G each.
            Equal roles of different works are different roles.
        ranks: ranks to report CMC at; a rank beyond the gallery counts as the gallery's last.

    Raises:
        Error: shapes, types or lengths do not match, a feature is not finite, or a rank is not a positive integer.
    """
    ranks = read_ranks(ranks)
    query_QD, gallery_GD = _read_features(query_features, gallery_features)
    labels = read_labels(query_works, gallery_works, query_roles, gallery_roles)
    for side, num_rows, num_labels in (
        ("query", len(query_QD), len(labels.query_works_Q)),
        ("gallery", len(gallery_GD), len(labels.gallery_works_G)),
    ):
        if num_rows != num_labels:
            raise Error(
                f"{side}_features has {num_rows} rows and {side}_works {num_labels} labels. Pass one per image."
            )
    scores = [_scores(ranks_BS, num_B) for ranks_BS, num_B in _positive_ranks(query_QD, gallery_GD, labels)]
    if not scores:
        return CrossRoleMetrics(math.nan, math.nan, dict.fromkeys(ranks, math.nan), 0)
    ap_Q, inp_Q, first_Q = (np.concatenate(parts) for parts in zip(*scores, strict=True))
    cmc = {rank: float(np.mean(first_Q <= rank)) for rank in ranks}
    return CrossRoleMetrics(float(ap_Q.mean()), float(inp_Q.mean()), cmc, len(ap_Q))


def read_ranks(ranks: Sequence[int]) -> tuple[int, ...]:
    """Return the ranks as integers.

    Raises:
        Error: a rank is not an integer >= 1.
    """
    for rank in ranks:
        if rank != int(rank) or rank < 1:
            raise Error(f"{rank!r} is not a rank. Ranks are integers >= 1.")
    return tuple(int(rank) for rank in ranks)


def _scores(ranks_BS: Codes, num_positives_B: Codes) -> tuple[Floats, Floats, Codes]:
    """Return average precision, inverse negative penalty and first rank of each query, from its ascending ranks."""
    count_S = np.arange(1, ranks_BS.shape[1] + 1)
    precision_BS = np.where(count_S <= num_positives_B[:, None], count_S / ranks_BS, 0.0)
    last_B = ranks_BS[np.arange(len(ranks_BS)), num_positives_B - 1]
    return precision_BS.sum(axis=1) / num_positives_B, num_positives_B / last_B, ranks_BS[:, 0]


def ranked_galleries(
    query_features: Any,
    gallery_features: Any,
    *,
    query_works: Any,
    gallery_works: Any,
    query_roles: Any,
    gallery_roles: Any,
) -> Iterator[tuple[Codes, Codes]]:
    """Yield, in chunks, the queries that have a positive and for each the gallery from near to far.

    `cross_role_metrics` measures the same order.

    Args:
        query_features: [Q, D], as in `cross_role_metrics`.
        gallery_features: [G, D].
        query_works: Q labels, as in `cross_role_metrics`. `query_roles` is alike, and `gallery_works` and
            `gallery_roles` have G each.

    Yields:
        Positions of queries, [B], ordered by work, and positions in the gallery, [B, G]. Junk is at the end of each row
        as -1.

    Raises:
        Error: shapes, types or lengths do not match, or a feature is not finite.
    """
    labels = read_labels(query_works, gallery_works, query_roles, gallery_roles)
    for chunk in _chunks(*_read_features(query_features, gallery_features), labels):
        # Back in the gallery's own order, so that a stable sort keeps it for ties.
        distances_BG = chunk.distances_BG[:, np.argsort(chunk.order_G)]
        nearest_BG = np.argsort(distances_BG, axis=1, kind="stable")
        nearest_BG[np.isinf(np.take_along_axis(distances_BG, nearest_BG, axis=1))] = -1
        yield chunk.queries_B, nearest_BG


@dataclass(frozen=True)
class _Chunk:
    """Some queries, and their distances to the gallery sorted by work; distances to junk are infinite."""

    queries_B: Codes
    distances_BG: Floats
    order_G: Codes  # positions in the gallery as given
    runs: list[tuple[slice, slice]]  # queries of one work, and the gallery images of it


def _positive_ranks(query_QD: Floats, gallery_GD: Floats, labels: Labels) -> Iterator[tuple[Codes, Codes]]:
    """Yield, chunk by chunk, the ascending ranks of the positives and their number, for all queries that have one."""
    num_positives_Q = labels.num_positives_Q()
    for chunk in _chunks(query_QD, gallery_GD, labels):
        sorted_BG = np.sort(chunk.distances_BG, axis=1)
        for rows, columns in chunk.runs:
            ranks_BS = _ranks(chunk.distances_BG[rows], sorted_BG[rows], columns, chunk.order_G)
            yield ranks_BS, num_positives_Q[chunk.queries_B[rows]]


def _chunks(query_QD: Floats, gallery_GD: Floats, labels: Labels) -> Iterator[_Chunk]:
    """Yield all queries that have a positive in chunks, sorted by work."""
    num_positives_Q = labels.num_positives_Q()
    queries = np.argsort(labels.query_works_Q, kind="stable")
    queries = queries[num_positives_Q[queries] > 0]
    if not len(queries):
        return
    # With the gallery sorted by work, the positives and junk of a query are one slice.
    order_G = np.argsort(labels.gallery_works_G, kind="stable")
    works_G, roles_G = labels.gallery_works_G[order_G], labels.gallery_roles_G[order_G]
    distances = _Distances(query_QD, gallery_GD, order_G)
    for start in range(0, len(queries), CHUNK_QUERIES):
        chunk = queries[start : start + CHUNK_QUERIES]
        distances_BG = distances.of(chunk)
        runs = [(rows, _run(works_G, work)) for work, rows in _runs(labels.query_works_Q[chunk])]
        for rows, columns in runs:
            junk_BS = labels.query_roles_Q[chunk[rows], None] == roles_G[columns]
            distances_BG[rows, columns][junk_BS] = np.inf
        yield _Chunk(chunk, distances_BG, order_G, runs)


def _runs(sorted_works: Codes) -> list[tuple[int, slice]]:
    return [(int(work), _run(sorted_works, work)) for work in np.unique(sorted_works)]


def _run(sorted_works: Codes, work: int) -> slice:
    return slice(int(np.searchsorted(sorted_works, work)), int(np.searchsorted(sorted_works, work, side="right")))


def _ranks(distances_BG: Floats, sorted_BG: Floats, columns: slice, order_G: Codes) -> Codes:
    """Return the ascending ranks of the images in `columns`; junk, at infinite distance, ranks last."""
    wanted_BS = distances_BG[:, columns]
    closer_BS = np.stack([row.searchsorted(wanted) for row, wanted in zip(sorted_BG, wanted_BS, strict=True)])
    following_BS = np.minimum(closer_BS + 1, sorted_BG.shape[1] - 1)
    tied_BS = np.take_along_axis(sorted_BG, following_BS, axis=1) == wanted_BS
    tied_BS &= (following_BS > closer_BS) & np.isfinite(wanted_BS)
    for row in np.flatnonzero(tied_BS.any(axis=1)):
        tied = columns.start + np.flatnonzero(tied_BS[row])
        closer_BS[row, tied_BS[row]] += _num_tied_before(distances_BG[row], tied, order_G)
    return np.sort(closer_BS, axis=1) + 1


def _num_tied_before(distances_G: Floats, columns: Codes, order_G: Codes) -> Codes:
    """For each of `columns`, count the images at the same distance that come earlier in the gallery as given."""
    candidates = np.flatnonzero(np.isin(distances_G, distances_G[columns]))
    ranking = candidates[np.lexsort((order_G[candidates], distances_G[candidates]))]
    place_G = np.zeros(len(distances_G), np.int64)
    place_G[ranking] = np.arange(len(ranking))
    return place_G[columns] - np.searchsorted(distances_G[ranking], distances_G[columns])


class _Distances:
    """Distances to the reordered gallery, up to terms that do not change ranks: halved, without the query's norm."""

    def __init__(self, query_QD: Floats, gallery_GD: Floats, order_G: Codes) -> None:
        # A power of two, so nothing is rounded. It keeps squares within the range of the type.
        self._exponent = -math.frexp(max(_largest(query_QD), _largest(gallery_GD)))[1]
        self._query_QD = query_QD
        scaled_GD = np.ldexp(gallery_GD[order_G], self._exponent)
        self._shift_D = _shift(scaled_GD)
        # `+ shift` rather than `- center` also turns -0.0 into 0.0, so that equal rows are equal bytes.
        self._gallery_GD = scaled_GD + self._shift_D
        self._half_norms_G = np.einsum("gd,gd->g", self._gallery_GD, self._gallery_GD) / 2
        self._copies, self._originals = _equal_rows(self._gallery_GD)

    def of(self, queries: Codes) -> Floats:
        """Return the distances [B, G] of these queries in a new array."""
        query_BD = np.ldexp(self._query_QD[queries], self._exponent) + self._shift_D
        distances_BG: Floats = -query_BD @ self._gallery_GD.T
        distances_BG += self._half_norms_G
        # A matrix product may round equal columns differently: a tie must stay a tie.
        distances_BG[:, self._copies] = distances_BG[:, self._originals]
        return distances_BG


def _shift(gallery_GD: Floats) -> Floats:
    """Return the vector to add to all features so that the gallery is near the origin; zeros if it almost is.

    Far from the origin, subtracting large products would cancel the distance. The shift does not change distances. It
    is a multiple of a power of two near the spread, so that features on a grid stay on it. It is estimated from a
    sample of the gallery, because any shift is correct.
    """
    sample_BD = gallery_GD[:: len(gallery_GD) // 256 + 1].astype(np.float64)
    mean_D = sample_BD.mean(axis=0)
    spread = float(np.sqrt(np.mean((sample_BD - mean_D) ** 2)))
    if float(np.sqrt(np.mean(mean_D**2))) <= FAR_FROM_ORIGIN * spread:
        return np.zeros_like(gallery_GD[0])
    grid = 2.0 ** math.floor(math.log2(max(spread, 2.0**-100)))
    shift_D: Floats = (0.0 - np.rint(mean_D / grid) * grid).astype(gallery_GD.dtype)
    return shift_D


def _equal_rows(features_GD: Floats) -> tuple[Codes, Codes]:
    """Return the rows that repeat an earlier row, and for each that earlier row."""
    # Rows with different first values differ: only the few others are compared in full.
    _, inverse, counts = np.unique(features_GD[:, 0], return_inverse=True, return_counts=True)
    suspects = np.flatnonzero(counts[inverse] > 1).tolist()
    first: dict[bytes, int] = {}
    pairs = [(row, first.setdefault(features_GD[row].tobytes(), row)) for row in suspects]
    repeated = np.array([pair for pair in pairs if pair[0] != pair[1]], dtype=np.int64).reshape(-1, 2)
    return repeated[:, 0], repeated[:, 1]


def _largest(features: Floats) -> float:
    return max(float(features.max(initial=0)), -float(features.min(initial=0)))


def _read_features(query_features: Any, gallery_features: Any) -> tuple[Floats, Floats]:
    query_QD, gallery_GD = as_numpy(query_features), as_numpy(gallery_features)
    for side, features in (("query", query_QD), ("gallery", gallery_GD)):
        if features.ndim != 2 or not features.shape[1]:
            raise Error(f"{side}_features has the shape {features.shape}. Pass (images, dimension), one row per image.")
        if features.dtype.kind not in "fiub":
            raise Error(f"{side}_features holds {features.dtype}. Pass numbers.")
        if not math.isfinite(_largest(features)):
            row = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
            raise Error(f"{side}_features holds NaN or infinity, first in row {row}. Did the training diverge?")
    if query_QD.shape[1] != gallery_GD.shape[1]:
        raise Error(
            f"query_features has {query_QD.shape[1]} columns and gallery_features {gallery_GD.shape[1]}. "
            "Compute both with the same model."
        )
    narrow = all(features.dtype in (np.float32, np.float16) for features in (query_QD, gallery_GD))
    working = np.float32 if narrow else np.float64
    return query_QD.astype(working, copy=False), gallery_GD.astype(working, copy=False)
