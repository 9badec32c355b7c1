"""A space as a grid: every combination of its parameters' values."""

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
    """Optuna's, without its wish to end `study.optimize` after the last point: a plan has no more trials than that."""

    def after_trial(self, *_: Any) -> None:
        pass


def grid_of(space: Space) -> dict[str, list[Any]]:
    """The values of every parameter of `space`; Error for one that is continuous."""
    return {name: _values(space, name, json_to_distribution(as_json)) for name, as_json in space.distributions.items()}


def num_points(space: Space) -> int:
    """How many combinations there are."""
    return math.prod(len(values) for values in grid_of(space).values())


def _values(space: Space, name: str, distribution: BaseDistribution) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, (IntDistribution, FloatDistribution)) and distribution.step is not None:
        num_steps = round((distribution.high - distribution.low) / distribution.step)
        return [distribution.low + index * distribution.step for index in range(num_steps + 1)]
    raise Error(
        f"--sampler grid: parameter {name!r} of space {space.name} is continuous. Give it choices or a step, or take"
        " another sampler."
    )
