"""Cross-role retrieval: does an image of one character find other characters of the same work?

Each query ranks the gallery by squared Euclidean distance. Gallery images of the query's own work and role are junk:
they are excluded and take no rank. The other images of its work are its positives. Ties keep the gallery's order. A
query without a positive is not counted.

`ranking.py` and `distances.py` next to this file compute the ranks with torch, on the device of the features.

Axes: Q queries, G gallery, D feature dimension, B queries of one chunk, S positives of a query.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from shards_tools.errors import Error
from trainables.metrics.labels import Codes, Labels, read_labels

if TYPE_CHECKING:
    from trainables.metrics.distances import GalleryDistances

Floats = npt.NDArray[np.floating[Any]]


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
        query_features: [Q, D], numpy or torch. Distances are float32; float64 for float64 and integers.
        gallery_features: [G, D]. Ranks are computed on its device.
        query_works: Q integers or strings. `query_roles` is alike, and `gallery_works` and `gallery_roles` have G each.
            Equal roles of different works are different roles.
        ranks: ranks to report CMC at; a rank beyond the gallery counts as the gallery's last.

    Raises:
        Error: shapes, types or lengths do not match, a feature is not finite, or a rank is not a positive integer.
    """
    from trainables.metrics.distances import Distances  # imports torch, which takes seconds

    ranks = read_ranks(ranks)
    distances = Distances(query_features, gallery_features)
    return metrics_of(distances, read_labels(query_works, gallery_works, query_roles, gallery_roles), ranks)


def metrics_of(distances: GalleryDistances, labels: Labels, ranks: Sequence[int] = (1, 5, 10, 20)) -> CrossRoleMetrics:
    """Return the metrics of the ranking by any distances; junk and ties are treated as in `cross_role_metrics`.

    Args:
        ranks: ranks to report CMC at, integers >= 1.

    Raises:
        Error: there is not one label per image.
    """
    from trainables.metrics.ranking import positive_ranks  # imports torch, which takes seconds

    for side, num_rows, num_labels in (
        ("query", distances.num_queries, len(labels.query_works_Q)),
        ("gallery", distances.num_gallery, len(labels.gallery_works_G)),
    ):
        if num_rows != num_labels:
            raise Error(
                f"{side}_features has {num_rows} rows and {side}_works {num_labels} labels. Pass one per image."
            )
    scores = [_scores(ranks_BS, num_B) for ranks_BS, num_B in positive_ranks(distances, labels)]
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
    from trainables.metrics.distances import Distances  # imports torch, which takes seconds
    from trainables.metrics.ranking import chunks, nearest

    labels = read_labels(query_works, gallery_works, query_roles, gallery_roles)
    for chunk in chunks(Distances(query_features, gallery_features), labels):
        yield chunk.queries_B, nearest(chunk)
