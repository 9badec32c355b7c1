"""Verification: do two images come from the same work? Error rates of a distance threshold.

A pair is accepted as same-work if its features are nearer than the threshold. Pairs of one work and role are junk, as
in the ranking: two images of one character say nothing about the work.

All pairs are counted in a histogram of distances. Memory does not grow with the number of pairs, and the rates at a bin
edge are exact. The bins are logarithmic, because the features of a network that has learned little are close together.

N images, D feature dimension, B images at a time, T thresholds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trainables.metrics.cross_role import Floats
from trainables.metrics.labels import Codes
from trainables.metrics.pairs import squared_distances

# A float32 without its last 7 bits: 2^16 bins between a number and its double.
DROPPED_BITS = 7
FIRST = int(np.float32(2**-22).view(np.int32)) >> DROPPED_BITS  # smaller squared distances share one bin
NUM_STEPS = (int(np.float32(4).view(np.int32)) >> DROPPED_BITS) + 1 - FIRST  # unit features are at most 2 apart
PAIRS_AT_ONCE = 2**22
POINTS_PER_DECADE = 40  # of the false accept rate, on a curve


@dataclass(frozen=True)
class Point:
    """A threshold and its error rates."""

    threshold: float  # Euclidean distance below which a pair is accepted as same-work
    false_accept_rate: float  # of the pairs of different works
    false_reject_rate: float  # of the pairs of one work


@dataclass(frozen=True)
class PairCounts:
    """The number of pairs accepted at each threshold of the grid, from none to all."""

    same_T: Codes  # pairs of one work
    different_T: Codes

    @property
    def num_same(self) -> int:
        """The number of pairs of one work."""
        return int(self.same_T[-1])

    @property
    def num_different(self) -> int:
        """The number of pairs of different works."""
        return int(self.different_T[-1])

    @cached_property
    def area(self) -> float:
        """Area under the ROC curve: how often a same-work pair is nearer than one of different works; chance is 0.5."""
        return float(np.trapezoid(self.same_T / self.num_same, self.different_T / self.num_different))

    def at_rate(self, false_accept_rate: float) -> Point:
        """Return the highest threshold that accepts at most this fraction of the pairs of different works."""
        allowed = false_accept_rate * self.num_different
        return self._point(int(np.searchsorted(self.different_T, allowed, side="right")) - 1)

    def at_threshold(self, threshold: float) -> Point:
        """Return the rates at a threshold of the grid; any other is rounded down to the grid."""
        bits = int(np.float32(threshold**2).view(np.int32)) >> DROPPED_BITS
        return self._point(int(np.clip(bits - FIRST, 0, NUM_STEPS)))

    def curve(self) -> tuple[Point, ...]:
        """Return the points from the lowest false accept rate that can be measured up to 1."""
        num = int(np.log10(self.num_different) * POINTS_PER_DECADE)
        rates = 10.0 ** (-np.arange(num, -1, -1) / POINTS_PER_DECADE)  # including the powers of ten
        return tuple(dict.fromkeys(self.at_rate(rate) for rate in rates))

    def _point(self, step: int) -> Point:
        squared = float(np.int32((FIRST + step) << DROPPED_BITS).view(np.float32)) if step else 0.0
        accepted, right = self.different_T[step] / self.num_different, self.same_T[step] / self.num_same
        return Point(squared**0.5, float(accepted), float(1 - right))


def count_pairs(features_ND: Floats, works_N: Codes, roles_N: Codes) -> PairCounts:
    """Count every pair of different images, without those of one work and role.

    Args:
        features_ND: of length 1 each.
        roles_N: distinct across works; all different if no pair is junk.
    """
    counts = np.zeros(2 * NUM_STEPS, np.int64)
    for distances, are_same in _pairs(features_ND - features_ND.mean(axis=0), works_N, roles_N):
        steps = np.clip((distances.view(np.int32) >> DROPPED_BITS) - FIRST, 0, NUM_STEPS - 1)
        counts += np.bincount(steps + NUM_STEPS * are_same, minlength=len(counts))
    different, same = (np.concatenate([[0], np.cumsum(part)]) for part in np.split(counts, 2))
    return PairCounts(same_T=same, different_T=different)


def _pairs(features_ND: Floats, works_N: Codes, roles_N: Codes) -> Iterator[tuple[Floats, np.ndarray]]:
    """Yield the squared distances of pairs and whether each is of one work, some millions at a time."""
    num = len(features_ND)
    at_once = max(1, PAIRS_AT_ONCE // max(num, 1))
    for start in range(0, num, at_once):
        end = min(start + at_once, num)
        distances_BN = squared_distances(features_ND[start:end], features_ND[start:]).astype(np.float32, copy=False)
        later_BN = np.arange(start, end)[:, None] < np.arange(start, num)
        asked_BN = later_BN & (roles_N[start:end, None] != roles_N[None, start:])
        same_BN = works_N[start:end, None] == works_N[None, start:]
        yield distances_BN[asked_BN], same_BN[asked_BN]
