"""The exact expectation of the cross-role metrics for random rankings; nothing is sampled.

If features are independent of the labels, every order of a query's gallery is equally likely. With N ranked images
(without junk), of which P are positives, the expectation of each metric depends only on N and P:

- AP: position k holds a positive with probability P/N; (k-1)(P-1)/(N-1) of the images before it are then expected to be
  positives.
- INP: the last positive is at position r with probability C(r-1, P-1) / C(N, P).
- CMC at k: one minus the probability that the first k are all negatives, C(N-k, P) / C(N, P).
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trainables.metrics.cross_role import CrossRoleMetrics, read_ranks
from trainables.metrics.labels import read_labels


def chance_metrics(
    query_works: Any, gallery_works: Any, query_roles: Any, gallery_roles: Any, *, ranks: Sequence[int] = (1, 5, 10, 20)
) -> CrossRoleMetrics:
    """Return the mean of `cross_role_metrics` over all random rankings for these labels.

    Args:
        query_works: with the other labels and `ranks`, as for `cross_role_metrics`.

    Raises:
        Error: lengths or types of labels do not match, or a rank is not a positive integer.
    """
    ranks = read_ranks(ranks)
    labels = read_labels(query_works, gallery_works, query_roles, gallery_roles)
    num_positives_Q = labels.num_positives_Q()
    valid_Q = num_positives_Q > 0
    if not valid_Q.any():
        return CrossRoleMetrics(math.nan, math.nan, dict.fromkeys(ranks, math.nan), 0)
    num_ranked_Q = len(labels.gallery_works_G) - labels.num_junk_Q()
    pairs, num_queries = np.unique(
        np.stack([num_ranked_Q[valid_Q], num_positives_Q[valid_Q]]), axis=1, return_counts=True
    )
    log_factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, len(labels.gallery_works_G) + 1)))])
    expected = np.array([_expectations(int(n), int(p), ranks, log_factorials) for n, p in pairs.T])
    mean_ap, mean_inp, *cmc = (num_queries @ expected / num_queries.sum()).tolist()
    return CrossRoleMetrics(mean_ap, mean_inp, dict(zip(ranks, cmc, strict=True)), int(valid_Q.sum()))


def _expectations(
    num_ranked: int, num_positives: int, ranks: Sequence[int], log_factorials: npt.NDArray[np.float64]
) -> list[float]:
    """Return the expected AP, INP and CMC at each rank for one query, over all orders of its gallery."""

    def log_choose(n: Any, k: int) -> Any:
        return log_factorials[n] - log_factorials[k] - log_factorials[n - k]

    positions = np.arange(1, num_ranked + 1)
    earlier = (positions - 1) * (num_positives - 1) / max(num_ranked - 1, 1)
    ap = float(np.mean((1 + earlier) / positions))
    last = positions[num_positives - 1 :]
    log_orders = log_choose(num_ranked, num_positives)
    inp = num_positives * float(np.sum(np.exp(log_choose(last - 1, num_positives - 1) - log_orders) / last))
    num_negatives = num_ranked - num_positives
    cmc = [
        1.0 - math.exp(log_choose(num_ranked - rank, num_positives) - log_orders) if rank <= num_negatives else 1.0
        for rank in ranks
    ]
    return [ap, inp, *cmc]
