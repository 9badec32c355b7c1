"""Loads a search space by name or from a file, and checks it against the recipes before anything is started."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, distribution_to_json

from platform.spaces.points import Point
from platform.spaces.registry import check_space
from shards_tools.errors import Error, unknown
from shards_tools.plugins import load_space_file
from trainables.recipes import get_recipe
from trainables.recipes.recipe import Recipe
from trainables.recipes.settings import override

# Sampling the space to find its parameters and choices stops after PATIENCE samples in a row without a new one: a
# branch that one draw in 50 takes is then missed once in 400 times.
PATIENCE = 300
MOST_PROBES = 3000


@dataclass(frozen=True, kw_only=True)
class Space:
    """A space at one scale: what a trial may be, and the rows that every search of it starts with."""

    name: str
    suggest: Callable[[Any], dict[str, Any]]
    baselines: Mapping[str, dict[str, Any]]  # name of the row -> values of Optuna's parameters
    distributions: Mapping[str, str] = field(default_factory=dict)  # Optuna parameter -> its distribution as JSON
    about: str = ""  # the first line of the space's docstring
    draws: Sequence[Mapping[str, Any]] = ()  # Optuna's parameters of random draws, each in the order of asking
    longest_epochs: int = 0  # of the recipes that draws reach
    longest_warmup: int = 0  # epochs of it
    reads_tags: bool = False  # whether some draw trains on an image's tags
    kind: str = "Space"  # what people call it
    shrink: str = "Leave the largest choices out of the space"  # what to do where its trainings are too large

    def recipe(self, trial: Any, epochs: int | None) -> Recipe:
        """The full training configuration that `trial` stands for; `epochs` where the recipe's own are not wanted."""
        settings = self.suggest(trial)
        if not isinstance(settings, dict) or "recipe" not in settings:
            raise Error(f"Space {self.name}: suggest() must return a dict with the key 'recipe', not {settings!r}.")
        values = {key: value for key, value in settings.items() if key != "recipe"}
        try:
            recipe = override(get_recipe(settings["recipe"]), values)
            return override(recipe, {"epochs": epochs}) if epochs else recipe
        except Error as mistake:
            raise Error(f"Space {self.name}: {mistake}") from None


def load_space(space: Any, scale: str) -> Space:
    """Load a space at `scale` and check every key and baseline of it.

    Args:
        space: a name, a file, a function `suggest(trial)`, or an object with `suggest` and perhaps `BASELINES`.

    Raises:
        Error: it is not a space, or a suggestion is not a valid recipe.
    """
    check_space(space)
    name, source = _source(space)
    suggest = getattr(source, "suggest", None)
    if not callable(suggest):
        raise Error(f"Space {space} has no function suggest(trial). It must return a dict with the key 'recipe'.")
    if "scale" in inspect.signature(suggest).parameters:

        def at_scale(trial: Any) -> dict[str, Any]:
            settings: dict[str, Any] = suggest(trial, scale)
            return settings
    else:
        at_scale = suggest
    loaded = Space(
        name=name,
        suggest=at_scale,
        baselines=_baselines(source, name, scale),
        about=(inspect.getdoc(source) or "").partition("\n")[0],
    )
    seen = _probe(loaded)
    for row, values in loaded.baselines.items():
        check_point(loaded, f"Space {name}, baseline {row!r}", values, seen.distributions)
    return replace(
        loaded,
        distributions={key: distribution_to_json(seen.distributions[key]) for key in sorted(seen.distributions)},
        draws=seen.draws,
        longest_epochs=max(recipe.epochs for recipe in seen.recipes),
        longest_warmup=max(recipe.warmup_epochs for recipe in seen.recipes),
        reads_tags=any(getattr(recipe, "text_tokens", 0) > 0 for recipe in seen.recipes),
    )


def _source(space: Any) -> tuple[str, Any]:
    """Return the name of a space, and what has its `suggest`: a module, an object, or a namespace for a function."""
    if isinstance(space, str):
        if space.endswith(".py"):
            return Path(space).stem, _module_from_file(Path(space))
        return space, importlib.import_module(f"search_spaces.{space}")
    name = getattr(space, "__name__", type(space).__name__).rpartition(".")[2].strip("<>")
    return name, space if hasattr(space, "suggest") else SimpleNamespace(suggest=space, __doc__=space.__doc__)


def _module_from_file(path: Path) -> ModuleType:
    try:
        return load_space_file(path)
    except Exception as mistake:
        raise Error(f"The space file {path} does not import: {type(mistake).__name__}: {mistake}.") from mistake


def _baselines(source: Any, name: str, scale: str) -> dict[str, dict[str, Any]]:
    """The rows at `scale`: BASELINES maps a row's name to its values, or a scale to such a mapping."""
    rows = getattr(source, "BASELINES", {})
    if isinstance(rows, Mapping) and rows and set(rows) <= {"paper", "tiny"}:
        rows = rows.get(scale, {})
    if not isinstance(rows, Mapping) or not all(isinstance(values, Mapping) for values in rows.values()):
        raise Error(f"Space {name}: BASELINES must map the name of a row to a dict of parameter values.")
    return {row: dict(values) for row, values in rows.items()}


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What random draws of a space have shown."""

    distributions: dict[str, BaseDistribution] = field(default_factory=dict)
    draws: list[dict[str, Any]] = field(default_factory=list)
    recipes: list[Recipe] = field(default_factory=list)
    _known: set[tuple[str, str]] = field(default_factory=set)  # parameters, each with each choice that was drawn

    def add(self, space: Space, trial: Point, recipe: Recipe) -> bool:
        """Take a draw in; whether it has shown a parameter or a choice that none before it had."""
        params, distributions = trial.params, trial.distributions
        for key, distribution in distributions.items():
            known = self.distributions.setdefault(key, distribution)
            if known != distribution:
                raise Error(
                    f"Space {space.name}: parameter {key!r} has two ranges, {known} and {distribution}. "
                    "Give each range a parameter of its own."
                )
        self.draws.append(params)
        self.recipes.append(recipe)
        shown = {
            (key, repr(value) if isinstance(distributions[key], CategoricalDistribution) else "")
            for key, value in params.items()
        }
        is_new = not shown <= self._known
        self._known.update(shown)
        return is_new


def _probe(space: Space) -> _Seen:
    """What random draws show, each of which must be a valid recipe."""
    rng = np.random.default_rng(0)
    seen = _Seen()
    last_new = 0
    for number in range(MOST_PROBES):
        if number - last_new > PATIENCE:
            break
        trial = Point(rng)
        try:
            recipe = space.recipe(trial, None)
        except Error:
            raise
        except Exception as mistake:
            raise Error(f"Space {space.name}: suggest() fails: {type(mistake).__name__}: {mistake}.") from mistake
        if seen.add(space, trial, recipe):
            last_new = number
    return seen


def check_point(
    space: Space, place: str, values: dict[str, Any], distributions: Mapping[str, BaseDistribution]
) -> None:
    """Error, which begins with `place`, where `values` of Optuna's parameters are no point of `space`."""
    for key, value in values.items():
        if key not in distributions:
            raise Error(f"{place}: {unknown('parameter', key, distributions)}")
        try:
            inside = distributions[key]._contains(distributions[key].to_internal_repr(value))
        except ValueError:
            inside = False
        if not inside:
            raise Error(f"{place}: {key} = {value!r} lies outside of {distributions[key]}.")
    trial = optuna.trial.FixedTrial(values)
    try:
        space.recipe(trial, None)
    except ValueError as mistake:  # what FixedTrial says of a parameter that is missing
        raise Error(f"{place}: {mistake}") from None
    unused = sorted(set(values) - set(trial.params))
    if unused:
        raise Error(f"{place}: {unused[0]} is not asked for with these values. Leave it out.")
