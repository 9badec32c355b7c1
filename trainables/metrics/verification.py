"""Verification: are two images from the same work? How often an answer by a threshold is wrong.

A pair passes for one work where its features are nearer than the threshold. Pairs of one work and role are junk, as in
the ranking: two images of one character say nothing about its work.

All pairs are counted, by the last threshold of a grid that they do not pass. So memory does not grow with the pairs,
and the rates at a threshold of the grid are those of a count one by one. The grid is as fine near 0 as far from it:
the features of a network that has learned little lie close together.

N images, D width, B images at a time, T thresholds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trainables.metrics.cross_role import Floats
from trainables.metrics.distances import squared_distances
from trainables.metrics.labels import Codes

# A float32 without its last 7 bits: 2^16 steps from a number to its double.
DROPPED_BITS = 7
FIRST = int(np.float32(2**-22).view(np.int32)) >> DROPPED_BITS  # squared distances below are one step
NUM_STEPS = (int(np.float32(4).view(np.int32)) >> DROPPED_BITS) + 1 - FIRST  # features of length 1 are 2 apart at most
PAIRS_AT_ONCE = 2**22
POINTS_PER_DECADE = 40  # of the false-accept rate, on a curve


@dataclass(frozen=True)
class Point:
    """A threshold, and how often it is wrong."""

    threshold: float  # Euclidean distance below which a pair passes for one work
    false_accept_rate: float  # of the pairs of different works
    false_reject_rate: float  # of the pairs of one work


@dataclass(frozen=True)
class PairCounts:
    """How many pairs pass at each threshold of the grid, from none to all."""

    same_T: Codes  # pairs of one work
    different_T: Codes

    @property
    def num_same(self) -> int:
        """Pairs of one work."""
        return int(self.same_T[-1])

    @property
    def num_different(self) -> int:
        """Pairs of different works."""
        return int(self.different_T[-1])

    @cached_property
    def area(self) -> float:
        """Under the ROC curve: how often a pair of one work is nearer than one of different works; chance is 0.5."""
        return float(np.trapezoid(self.same_T / self.num_same, self.different_T / self.num_different))

    def at_rate(self, false_accept_rate: float) -> Point:
        """The highest threshold at which no more pairs of different works pass than this fraction of them."""
        allowed = false_accept_rate * self.num_different
        return self._point(int(np.searchsorted(self.different_T, allowed, side="right")) - 1)

    def at_threshold(self, threshold: float) -> Point:
        """The rates of a threshold of the grid; of another, those of the grid's next below."""
        bits = int(np.float32(threshold**2).view(np.int32)) >> DROPPED_BITS
        return self._point(int(np.clip(bits - FIRST, 0, NUM_STEPS)))

    def curve(self) -> tuple[Point, ...]:
        """Points from the lowest rate of false accepts that can be counted to 1."""
        num = int(np.log10(self.num_different) * POINTS_PER_DECADE)
        rates = 10.0 ** (-np.arange(num, -1, -1) / POINTS_PER_DECADE)  # the powers of ten are among them
        return tuple(dict.fromkeys(self.at_rate(rate) for rate in rates))

    def _point(self, step: int) -> Point:
        squared = float(np.int32((FIRST + step) << DROPPED_BITS).view(np.float32)) if step else 0.0
        accepted, right = self.different_T[step] / self.num_different, self.same_T[step] / self.num_same
        return Point(squared**0.5, float(accepted), float(1 - right))


def count_pairs(features_ND: Floats, works_N: Codes, roles_N: Codes) -> PairCounts:
    """Every pair of different images, those of one work and role left out.

    Args:
        features_ND: of length 1 each.
        roles_N: distinct across works; all different where no pair is junk.
    """
    counts = np.zeros(2 * NUM_STEPS, np.int64)
    for distances, are_same in _pairs(features_ND - features_ND.mean(axis=0), works_N, roles_N):
        steps = np.clip((distances.view(np.int32) >> DROPPED_BITS) - FIRST, 0, NUM_STEPS - 1)
        counts += np.bincount(steps + NUM_STEPS * are_same, minlength=len(counts))
    different, same = (np.concatenate([[0], np.cumsum(part)]) for part in np.split(counts, 2))
    return PairCounts(same_T=same, different_T=different)


def _pairs(features_ND: Floats, works_N: Codes, roles_N: Codes) -> Iterator[tuple[Floats, np.ndarray]]:
    """The squared distances of pairs, and which are of one work, some millions at a time."""
    num = len(features_ND)
    at_once = max(1, PAIRS_AT_ONCE // max(num, 1))
    for start in range(0, num, at_once):
        end = min(start + at_once, num)
        distances_BN = squared_distances(features_ND[start:end], features_ND[start:]).astype(np.float32, copy=False)
        later_BN = np.arange(start, end)[:, None] < np.arange(start, num)
        asked_BN = later_BN & (roles_N[start:end, None] != roles_N[None, start:])
        same_BN = works_N[start:end, None] == works_N[None, start:]
        yield distances_BN[asked_BN], same_BN[asked_BN]
