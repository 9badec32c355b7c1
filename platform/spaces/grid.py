"""The grid of a space: every combination of its parameters' values."""

from __future__ import annotations

import math
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    json_to_distribution,
)
from optuna.samplers import GridSampler

from platform.spaces.loading import Space
from shards_tools.errors import Error


class StudyGrid(GridSampler):
    """Optuna's grid sampler, but it does not stop the study after the last point.

    A search with `--sampler grid` has no more trials than the grid has points.
    """

    def after_trial(self, *_: Any) -> None:
        """Do nothing; Optuna's sampler would call `study.stop` here."""


def grid_of(space: Space) -> dict[str, list[Any]]:
    """Return the values of each parameter of a space.

    Raises:
        Error: a parameter is continuous.
    """
    return {name: _values(space, name, json_to_distribution(as_json)) for name, as_json in space.distributions.items()}


def num_points(space: Space) -> int:
    """Return the number of points of a space's grid."""
    return math.prod(len(values) for values in grid_of(space).values())


def _values(space: Space, name: str, distribution: BaseDistribution) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, (IntDistribution, FloatDistribution)) and distribution.step is not None:
        num_steps = round((distribution.high - distribution.low) / distribution.step)
        return [distribution.low + index * distribution.step for index in range(num_steps + 1)]
    raise Error(
        f"--sampler grid: parameter {name!r} of space {space.name} is continuous. Give it choices or a step, or use"
        " another sampler."
    )
