"""Points of a space: drawn by asking it, near a given one too, and written as rows of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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
Suggest = Callable[[Any], Any]  # a space: asks the trial that it is given for its parameters

NUM_CHANGES = 3.0  # parameters of a neighbour that differ, in the mean


class Point(optuna.trial.FixedTrial):
    """A trial that answers a space at random, at or near a given point, and keeps what it answered."""

    def __init__(self, rng: np.random.Generator, centre: Params | None = None, spread: float | None = None) -> None:
        """A point anywhere; with a `centre`, one that has its parameters as far as the space asks for them.

        Args:
            spread: a few of these differ, by so much of their range; None: none does.
        """
        super().__init__({})
        self._rng, self._centre, self._spread = rng, centre or {}, spread

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        if name in self._distributions:
            check_distribution_compatibility(self._distributions[name], distribution)
        else:
            self._suggested_params[name] = self._drawn(name, distribution)
            self._distributions[name] = distribution
        return self._suggested_params[name]

    def _drawn(self, name: str, distribution: BaseDistribution) -> Any:
        if name not in self._centre:
            return value_at(distribution, self._rng.random())
        value = self._centre[name]
        if self._spread is None or self._rng.random() * len(self._centre) >= NUM_CHANGES:
            return value
        if isinstance(distribution, CategoricalDistribution):
            return value_at(distribution, self._rng.random())
        place = place_of(distribution, value) + self._rng.normal(0.0, self._spread)
        return value_at(distribution, min(max(place, 0.0), 1.0))


def value_at(distribution: BaseDistribution, place: float) -> Any:
    """The value at `place`, 0 to 1, of a range or of a list of choices; equal lengths of it are equally likely."""
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
    """Where `value` lies in its range, 0 to 1: the inverse of `value_at`; of choices, at the middle of its share."""
    if isinstance(distribution, CategoricalDistribution):
        return (distribution.choices.index(value) + 0.5) / len(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = _ends(distribution)
    return ((math.log(value) if distribution.log else value) - low) / (high - low) if high > low else 0.5


def _ends(distribution: FloatDistribution | IntDistribution) -> tuple[float, float]:
    """Both ends of a range on its scale; whole steps reach half a step further, so that the last is drawn as often."""
    low, high = float(distribution.low), float(distribution.high)
    if distribution.step is not None:
        low, high = low - distribution.step / 2, high + distribution.step / 2
    return (math.log(low), math.log(high)) if distribution.log else (low, high)


class Axes:
    """How points are written as rows: a number for each ordered parameter, one for each choice of the others.

    A difference of 1 is the whole range, or another choice. A parameter that a point does not have stands in the
    middle: two points without it do not differ there.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution]) -> None:
        self._distributions = dict(sorted(distributions.items()))
        widths = [1 if _is_ordered(one) else len(one.choices) for one in self._distributions.values()]  # type: ignore[attr-defined]
        self.starts = np.cumsum([0, *widths])[:-1]  # the first column of each parameter
        self._num_columns = sum(widths)

    def rows(self, points: Sequence[Params]) -> NDArray[np.float64]:
        """One row per point."""
        rows = np.zeros((len(points), self._num_columns))
        for (name, distribution), start in zip(self._distributions.items(), self.starts, strict=True):
            ordered = _is_ordered(distribution)
            for row, point in zip(rows, points, strict=True):
                if ordered:
                    row[start] = place_of(distribution, point[name]) if name in point else 0.5
                elif name in point:
                    # Two choices then lie 1 apart.
                    row[start + distribution.choices.index(point[name])] = math.sqrt(0.5)  # type: ignore[attr-defined]
        return rows


def _is_ordered(distribution: BaseDistribution) -> bool:
    """Whether values are more or less of something: ranges, and choices that are rising numbers."""
    if not isinstance(distribution, CategoricalDistribution):
        return True
    choices = distribution.choices
    return all(type(choice) in (int, float) for choice in choices) and list(choices) == sorted(choices)  # type: ignore[type-var]
