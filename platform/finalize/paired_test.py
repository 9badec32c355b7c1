"""A test whether the difference between two settings may be chance, for a handful of pairs."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PATTERNS_AT_ONCE = 4096  # all patterns of 20 pairs at once would take a gigabyte


@dataclass(frozen=True)
class PairedTest:
    """The exact sign-flip test of paired differences, two-sided."""

    num_pairs: int
    difference: float  # mean of the pairs' differences
    p: float  # NaN without pairs

    @property
    def smallest_p(self) -> float:
        """The smallest p that this number of pairs can give."""
        return smallest_p(self.num_pairs)


def smallest_p(num_pairs: int) -> float:
    """Return the smallest two-sided p that `num_pairs` pairs can give: two of all patterns of signs."""
    return min(1.0, 2.0 ** (1 - num_pairs))


def paired_test(values: Sequence[float], others: Sequence[float]) -> PairedTest:
    """Test whether `values` differ from `others`, pair by pair.

    Fisher's randomization test (The Design of Experiments, 1935, section 21): without a true difference, the difference
    of each pair could equally have the other sign. p is the fraction of all 2^n patterns of signs whose mean is at
    least as far from zero as the observed one. All patterns are enumerated, so give at most about 20 pairs.
    """
    from scipy.stats import permutation_test  # importing it takes a second, which most commands do not need

    differences = np.subtract(values, others, dtype=np.float64)
    if not len(differences):
        return PairedTest(0, math.nan, math.nan)
    if len(differences) == 1:  # scipy needs two
        return PairedTest(1, float(differences[0]), smallest_p(1))
    test = permutation_test(
        (differences,), _rounded_mean, permutation_type="samples", n_resamples=np.inf, batch=PATTERNS_AT_ONCE
    )
    return PairedTest(len(differences), float(differences.mean()), float(test.pvalue))


def _rounded_mean(differences: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean to 12 decimals, so that patterns with equal means tie in spite of rounding errors."""
    mean: np.ndarray = differences.mean(axis).round(12)
    return mean


class Repeated(ABC):
    """A value that is measured several times, on folds or with seeds."""

    @property
    @abstractmethod
    def sample(self) -> Sequence[float]:
        """All values; empty while some are missing."""

    @property
    def mean(self) -> float:
        """The mean of the sample; NaN if it is empty."""
        return mean_and_std(self.sample)[0] if self.sample else math.nan

    @property
    def std(self) -> float:
        """The standard deviation of the sample, with n - 1 in the denominator; NaN below two values."""
        return mean_and_std(self.sample)[1] if self.sample else math.nan


def mean_and_std(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the standard deviation, with n - 1 in the denominator; the latter is NaN for one value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
