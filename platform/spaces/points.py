"""Sample points of a space, at random or near a given point, and encode them as rows of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)

Params = Mapping[str, Any]
Suggest = Callable[[Any], Any]  # the `suggest` of a space, which asks a trial for its parameters

MOST_REJECTED = 300  # samples in a row, before nothing is sampled
NUM_CHANGES = 3.0  # the average number of parameters in which a nearby point differs


class Point(optuna.trial.FixedTrial):
    """A trial that samples each parameter when a space asks for it, and keeps the values.

    Args:
        center: a point to sample at or near; parameters that it lacks are sampled at random. None: sample them all.
        spread: the standard deviation, as a fraction of a parameter's range, by which about `NUM_CHANGES` parameters
            differ from `center`. None: none differs.
    """

    def __init__(self, rng: np.random.Generator, center: Params | None = None, spread: float | None = None) -> None:
        super().__init__({})
        self._rng, self._center, self._spread = rng, center or {}, spread

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        value: float = self._suggest(name, _floats(low, high, log, step))
        return value

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return int(self._suggest(name, _integers(low, high, log, step)))

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        if name in self._distributions:
            check_distribution_compatibility(self._distributions[name], distribution)
        else:
            self._suggested_params[name] = self._sample(name, distribution)
            self._distributions[name] = distribution
        return self._suggested_params[name]

    def _sample(self, name: str, distribution: BaseDistribution) -> Any:
        if name not in self._center:
            return value_at(distribution, self._rng.random())
        value = self._center[name]
        if self._spread is None or self._rng.random() * len(self._center) >= NUM_CHANGES:
            return value
        if isinstance(distribution, CategoricalDistribution):
            return value_at(distribution, self._rng.random())
        place = place_of(distribution, value) + self._rng.normal(0.0, self._spread)
        return value_at(distribution, min(max(place, 0.0), 1.0))


# A sampler draws hundreds of points from the same ranges, which take longer to make than a value.
_floats = lru_cache(maxsize=1024, typed=True)(FloatDistribution)
_integers = lru_cache(maxsize=1024, typed=True)(IntDistribution)


def sample(suggest: Suggest, rng: np.random.Generator, fixed: Params | None = None) -> Point | None:
    """Return a point with these values, the others at random, that `suggest` does not reject.

    Returns:
        None if it rejects the first `MOST_REJECTED` samples.
    """
    for _ in range(MOST_REJECTED):
        point = Point(rng, fixed)
        if accepts(suggest, point):
            return point
    return None


def accepts(suggest: Suggest, point: Point) -> bool:
    """Let a point sample all its parameters, and return whether `suggest` does not reject it with TrialPruned."""
    try:
        suggest(point)
    except optuna.TrialPruned:
        return False
    return True


def rejection(reason: optuna.TrialPruned) -> str:
    """Return, for people, that `suggest` raised this because a combination is not wanted."""
    return f"suggest() rejects these parameters{f' ({reason})' if str(reason) else ''}"


def value_at(distribution: BaseDistribution, place: float) -> Any:
    """Return the value at a position in a range or a list of choices.

    A uniformly random position gives the same distribution as Optuna's random sampler.

    Args:
        place: 0 to 1.
    """
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[min(int(place * len(distribution.choices)), len(distribution.choices) - 1)]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = _ends(distribution)
    value = low + place * (high - low)
    value = math.exp(value) if distribution.log else value
    if distribution.step is not None:
        value = distribution.low + round((value - distribution.low) / distribution.step) * distribution.step
    value = min(max(value, distribution.low), distribution.high)
    return int(value) if isinstance(distribution, IntDistribution) else float(value)


def place_of(distribution: BaseDistribution, value: Any) -> float:
    """Return the position of a value in its range, 0 to 1; the inverse of `value_at`."""
    if isinstance(distribution, CategoricalDistribution):
        return (distribution.choices.index(value) + 0.5) / len(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = _ends(distribution)
    return ((math.log(value) if distribution.log else value) - low) / (high - low) if high > low else 0.5


def _ends(distribution: FloatDistribution | IntDistribution) -> tuple[float, float]:
    """Return both ends of a range, as logarithms if it is logarithmic.

    A range with steps is extended by half a step at each end, so that its ends are as likely as other values.
    """
    low, high = float(distribution.low), float(distribution.high)
    if distribution.step is not None:
        low, high = low - distribution.step / 2, high + distribution.step / 2
    return (math.log(low), math.log(high)) if distribution.log else (low, high)


class Axes:
    """Encode points as rows: one column for an ordered parameter, one per choice for other parameters.

    A distance of 1 is the whole range of a parameter, or another choice. A parameter that a point lacks is encoded as
    the middle of its range, or as zeros, so that points without it do not differ in it.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution]) -> None:
        self._distributions = dict(sorted(distributions.items()))
        widths = [1 if _is_ordered(one) else len(one.choices) for one in self._distributions.values()]  # type: ignore[attr-defined]
        self.starts = np.cumsum([0, *widths])[:-1]  # the first column of each parameter
        self._num_columns = sum(widths)

    def rows(self, points: Sequence[Params]) -> NDArray[np.float64]:
        """Return one row per point, of shape (points, columns)."""
        rows = np.zeros((len(points), self._num_columns))
        for (name, distribution), start in zip(self._distributions.items(), self.starts, strict=True):
            if _is_ordered(distribution):
                rows[:, start] = [place_of(distribution, point[name]) if name in point else 0.5 for point in points]
                continue
            for row, point in zip(rows, points, strict=True):
                if name in point:
                    # Two different choices then have a distance of 1.
                    row[start + distribution.choices.index(point[name])] = math.sqrt(0.5)  # type: ignore[attr-defined]
        return rows


def _is_ordered(distribution: BaseDistribution) -> bool:
    """Return whether values have an order: ranges, and choices that are ascending numbers."""
    if not isinstance(distribution, CategoricalDistribution):
        return True
    choices = distribution.choices
    return all(type(choice) in (int, float) for choice in choices) and list(choices) == sorted(choices)  # type: ignore[type-var]
