"""Find the parameters with which a space returns a recipe, so that a baseline can be the name of a recipe."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from platform.spaces.points import Params, Point, Suggest
from shards_tools.errors import Error, listed
from trainables.recipes import RECIPES, get_recipe
from trainables.recipes.images import as_size
from trainables.recipes.recipe import Recipe
from trainables.recipes.settings import settings_of, with_current_names

MOST_TRIED = 5000  # points of a space, before a recipe counts as unreachable
MOST_NAMED = 3  # settings in one message
REMEDY = "Change suggest(), or map a label to the parameters: BASELINES = {'label': {'parameter': value}}."


def paper_row(recipe: str) -> tuple[str, str] | None:
    """Return the table and the row that print a recipe, or the one whose tiny twin it is; None if no paper does."""
    printed = RECIPES.get(recipe.removesuffix("-tiny"))
    return (printed.table, printed.row) if printed and printed.table and printed.row else None


class Try(NamedTuple):
    """A point of a space that was compared with a recipe; the nearest comes first in a heap."""

    num_differing: int
    number: int  # makes all unequal, so that a heap compares nothing below
    answers: Params  # a value for every parameter of the space
    params: Params  # those that the space asked for
    differing: list[str]  # settings that the space returns differently


def point_of(recipe: Recipe, suggest: Suggest, distributions: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """Return the parameters with which `suggest` returns the settings of a recipe.

    The search changes one parameter at a time and continues from the point that differs from the recipe in the fewest
    settings. A number is searched among the recipe's own, because a space returns most numbers as they were suggested.

    Args:
        recipe: the recipe.
        suggest: the `suggest` of a space.
        distributions: all parameters of the space.

    Raises:
        Error: no point returns the recipe, or several values of one parameter do.
    """
    search = _Search(recipe, suggest, distributions)
    nearest = search.start()
    waiting, seen = [nearest], {repr(nearest.params)}
    while waiting and len(seen) < MOST_TRIED:
        current = heapq.heappop(waiting)
        nearest = min(nearest, current)
        for other in search.neighbors(current):
            if current.num_differing == other.num_differing == 0:
                name = next(name for name, value in current.params.items() if other.params.get(name) != value)
                raise Error(f"recipe {recipe.name} is reached with several values of parameter {name!r}. {REMEDY}")
            if (point := repr(other.params)) not in seen:
                seen.add(point)
                heapq.heappush(waiting, other)
        if current.num_differing == 0:
            return dict(current.params)
    missed = [f"{key}={search.wanted.get(key)!r}" for key in nearest.differing]
    raise Error(f"suggest() does not reach {listed(missed, MOST_NAMED)} of recipe {recipe.name}. {REMEDY}")


class _Search:
    """Compares points of a space with a recipe."""

    def __init__(self, recipe: Recipe, suggest: Suggest, distributions: Mapping[str, BaseDistribution]) -> None:
        self.wanted = {"system": recipe.system, **settings_of(recipe)}
        self._suggest, self._rng, self._num_tries = suggest, np.random.default_rng(0), 0
        entries = [entry for value in self.wanted.values() for entry in (value if type(value) is tuple else (value,))]
        numbers = dict.fromkeys(entry for entry in entries if type(entry) in (int, float))
        self._candidates = {name: _candidates(distribution, numbers) for name, distribution in distributions.items()}

    def start(self) -> Try:
        """Return the point whose parameters have the values of the recipe's settings of the same name."""
        answers = {
            name: self.wanted[name] if self.wanted.get(name) in values else values[0]
            for name, values in self._candidates.items()
        }
        return self._try(answers)

    def neighbors(self, of: Try) -> Iterator[Try]:
        """Yield every point that differs from this one in one parameter."""
        for name, own in of.params.items():
            for value in self._candidates[name]:
                if value != own:
                    yield self._try({**of.answers, name: value})

    def _try(self, answers: Params) -> Try:
        trial = Point(self._rng, answers)
        self._num_tries += 1
        try:
            settings = dict(self._suggest(trial))
        except optuna.TrialPruned:  # its neighbors may be wanted
            return Try(len(self.wanted) + 1, self._num_tries, answers, trial.params, list(self.wanted))
        base = get_recipe(settings.pop("recipe"))
        values = {"system": base.system, **settings_of(base), **base.completed(with_current_names(settings))}
        differing = [
            key
            for key in {**self.wanted, **values}
            if key not in values or key not in self.wanted or _plain(key, values[key]) != self.wanted[key]
        ]
        return Try(len(differing), self._num_tries, answers, trial.params, differing)


def _plain(key: str, value: Any) -> Any:
    """Return a setting as a recipe stores it."""
    if key == "image_size" and (size := as_size(value)):
        return size.setting
    return tuple(value) if isinstance(value, list) else value


def _candidates(distribution: BaseDistribution, numbers: Mapping[float, Any]) -> list[Any]:
    """Return every choice, or the ends of a range and those of the numbers that are inside."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    kind = float if isinstance(distribution, FloatDistribution) else int
    inside = (number for number in (*numbers, distribution.low, distribution.high) if distribution._contains(number))
    return list(dict.fromkeys(map(kind, inside)))
