"""Load a search space by name, from a file or from an object, and check it against the recipes before a search."""

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

# Sampling a space to find its parameters and choices stops after PATIENCE samples in a row without a new one. A branch
# that one sample in 50 takes is missed with a probability of 1/400.
PATIENCE = 300
MOST_PROBES = 3000


@dataclass(frozen=True, kw_only=True)
class Space:
    """A search space at one scale, with the baselines that every search of it starts with."""

    name: str
    suggest: Callable[[Any], dict[str, Any]]
    baselines: Mapping[str, dict[str, Any]]  # name -> values of Optuna's parameters
    distributions: Mapping[str, str] = field(default_factory=dict)  # Optuna parameter -> its distribution as JSON
    about: str = ""  # the first line of the space's docstring
    draws: Sequence[Mapping[str, Any]] = ()  # random samples: Optuna parameter -> value, in the order of suggest()
    longest_epochs: int = 0  # the most epochs of any sampled recipe
    longest_warmup: int = 0  # the most warm-up epochs of any sampled recipe
    reads_tags: bool = False  # whether any sampled recipe trains on image tags
    kind: str = "Space"  # what messages call it
    shrink: str = "Leave the largest choices out of the space"  # advice for trainings that need too much memory

    def recipe(self, trial: Any, epochs: int | None) -> Recipe:
        """Return the complete recipe of a trial.

        Args:
            trial: an Optuna trial, or an object with the same `suggest_` methods.
            epochs: replaces the recipe's own number of epochs; None or 0: keep it.

        Raises:
            Error: `suggest` returned something else than valid settings of a recipe.
        """
        settings = self.suggest(trial)
        if not isinstance(settings, dict) or "recipe" not in settings:
            raise Error(f"Space {self.name}: suggest() returned {settings!r}. Return a dict with the key 'recipe'.")
        values = {key: value for key, value in settings.items() if key != "recipe"}
        try:
            recipe = override(get_recipe(settings["recipe"]), values)
            return override(recipe, {"epochs": epochs}) if epochs else recipe
        except Error as mistake:
            raise Error(f"Space {self.name}: {mistake}") from None


def load_space(space: Any, scale: str) -> Space:
    """Load a space and check its keys, values and baselines.

    Args:
        space: a name, a file, a function `suggest(trial)`, or an object with `suggest` and, optionally, `BASELINES`.
        scale: `paper` or `tiny`.

    Raises:
        Error: it is not a space, a suggestion is not a valid recipe, or a baseline is not a point of the space.
    """
    check_space(space)
    name, source = _source(space)
    suggest = getattr(source, "suggest", None)
    if not callable(suggest):
        raise Error(f"Space {space} has no function suggest(trial). Define one that returns a dict with 'recipe'.")
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
    """Return the name of a space and the object with its `suggest`; a function is wrapped in a namespace."""
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
        raise Error(f"The space file {path} cannot be imported: {type(mistake).__name__}: {mistake}.") from mistake


def _baselines(source: Any, name: str, scale: str) -> dict[str, dict[str, Any]]:
    """Return the baselines at `scale`; BASELINES maps names to values, or scales to such mappings."""
    rows = getattr(source, "BASELINES", {})
    if isinstance(rows, Mapping) and rows and set(rows) <= {"paper", "tiny"}:
        rows = rows.get(scale, {})
    if not isinstance(rows, Mapping) or not all(isinstance(values, Mapping) for values in rows.values()):
        raise Error(f"Space {name}: BASELINES is invalid. Map the name of each row to a dict of parameter values.")
    return {row: dict(values) for row, values in rows.items()}


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What the random samples of a space have shown so far."""

    distributions: dict[str, BaseDistribution] = field(default_factory=dict)
    draws: list[dict[str, Any]] = field(default_factory=list)
    recipes: list[Recipe] = field(default_factory=list)
    _known: set[tuple[str, str]] = field(default_factory=set)  # (parameter, sampled choice)

    def add(self, space: Space, trial: Point, recipe: Recipe) -> bool:
        """Add a sample and return whether it has a parameter or a choice that no earlier sample had."""
        params, distributions = trial.params, trial.distributions
        for key, distribution in distributions.items():
            known = self.distributions.setdefault(key, distribution)
            if known != distribution:
                raise Error(
                    f"Space {space.name}: parameter {key!r} has two ranges, {known} and {distribution}. "
                    "Use a separate parameter name for each range."
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
    """Sample the space at random, check each sample, and return what they show."""
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
            raise Error(f"Space {space.name}: suggest() raised {type(mistake).__name__}: {mistake}.") from mistake
        if seen.add(space, trial, recipe):
            last_new = number
    return seen


def check_point(
    space: Space, place: str, values: dict[str, Any], distributions: Mapping[str, BaseDistribution]
) -> None:
    """Check that values of Optuna's parameters are a point of a space.

    Args:
        place: what the error message starts with.
        values: parameter -> value.
        distributions: all parameters of the space.

    Raises:
        Error: a parameter is unknown, out of range, missing or unused.
    """
    for key, value in values.items():
        if key not in distributions:
            raise Error(f"{place}: {unknown('parameter', key, distributions)}")
        try:
            inside = distributions[key]._contains(distributions[key].to_internal_repr(value))
        except ValueError:
            inside = False
        if not inside:
            raise Error(f"{place}: {key}={value!r} is outside {distributions[key]}.")
    trial = optuna.trial.FixedTrial(values)
    try:
        space.recipe(trial, None)
    except ValueError as mistake:  # FixedTrial raises it for a missing parameter
        raise Error(f"{place}: {mistake}") from None
    unused = sorted(set(values) - set(trial.params))
    if unused:
        raise Error(f"{place}: {unused[0]} is not used with these values. Leave it out.")
