"""Loads a search space by name or from a file, and checks it against the recipes before anything is started."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json

import search_spaces
from shards_tools.errors import Error, unknown
from trainables.recipes import get_recipe
from trainables.recipes.recipe import Recipe
from trainables.recipes.settings import override

# Draws that show which keys and ranges a space has. Its rarest branch of the seeds' spaces has probability 1/6.
NUM_PROBES = 60


@dataclass(frozen=True, kw_only=True)
class Space:
    """A space at one scale: what a trial may be, and the rows that every search of it starts with."""

    name: str
    suggest: Callable[[Any], dict[str, Any]]
    baselines: Mapping[str, dict[str, Any]]  # name of the row -> values of Optuna's parameters
    distributions: Mapping[str, str]  # Optuna parameter -> its distribution as JSON
    longest_epochs: int  # of the recipes that draws reach
    longest_warmup: int

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


def space_names() -> list[str]:
    """The names of the spaces that come with the project."""
    return sorted(
        module.name for module in pkgutil.iter_modules(search_spaces.__path__) if not module.name.startswith("_")
    )


def load_space(name: str, scale: str) -> Space:
    """The space called `name`, or the one in the file `name`, at `scale`; every key and baseline is checked."""
    module = _module_from_file(Path(name)) if name.endswith(".py") else _module_by_name(name)
    suggest = getattr(module, "suggest", None)
    if not callable(suggest):
        raise Error(f"Space {name} has no function suggest(trial). It must return a dict with the key 'recipe'.")
    if "scale" in inspect.signature(suggest).parameters:

        def at_scale(trial: Any) -> dict[str, Any]:
            settings: dict[str, Any] = suggest(trial, scale)
            return settings
    else:
        at_scale = suggest
    space = Space(
        name=Path(name).stem,
        suggest=at_scale,
        baselines=_baselines(module, Path(name).stem, scale),
        distributions={},
        longest_epochs=0,
        longest_warmup=0,
    )
    distributions, longest_epochs, longest_warmup = _probe(space)
    for row, values in space.baselines.items():
        _check_baseline(space, row, values, distributions)
    as_json = {key: distribution_to_json(distributions[key]) for key in sorted(distributions)}
    return replace(space, distributions=as_json, longest_epochs=longest_epochs, longest_warmup=longest_warmup)


def _module_by_name(name: str) -> ModuleType:
    if name not in space_names():
        raise unknown("space", name, space_names())
    return importlib.import_module(f"search_spaces.{name}")


def _module_from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise Error(f"There is no space file {path}. Spaces by name: {', '.join(space_names())}.")
    spec = importlib.util.spec_from_file_location(f"space_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise Error(f"The space file {path} cannot be imported.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as mistake:
        raise Error(f"The space file {path} does not import: {type(mistake).__name__}: {mistake}.") from mistake
    return module


def _baselines(module: ModuleType, name: str, scale: str) -> dict[str, dict[str, Any]]:
    """The rows at `scale`: BASELINES maps a row's name to its values, or a scale to such a mapping."""
    rows = getattr(module, "BASELINES", {})
    if isinstance(rows, Mapping) and rows and set(rows) <= {"paper", "tiny"}:
        rows = rows.get(scale, {})
    if not isinstance(rows, Mapping) or not all(isinstance(values, Mapping) for values in rows.values()):
        raise Error(f"Space {name}: BASELINES must map the name of a row to a dict of parameter values.")
    return {row: dict(values) for row, values in rows.items()}


def _probe(space: Space) -> tuple[dict[str, BaseDistribution], int, int]:
    """The distribution of every parameter that random draws reach; the most epochs of their recipes, and of warm-up.

    Each draw must be a valid recipe.
    """
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found: dict[str, BaseDistribution] = {}
    longest_epochs = longest_warmup = 0
    for _ in range(NUM_PROBES):
        trial = study.ask()
        try:
            recipe = space.recipe(trial, None)
        except Error:
            raise
        except Exception as mistake:
            raise Error(f"Space {space.name}: suggest() fails: {type(mistake).__name__}: {mistake}.") from mistake
        longest_epochs = max(longest_epochs, recipe.epochs)
        longest_warmup = max(longest_warmup, recipe.warmup_epochs)
        for key, distribution in trial.distributions.items():
            if found.setdefault(key, distribution) != distribution:
                raise Error(
                    f"Space {space.name}: parameter {key!r} has two ranges, {found[key]} and {distribution}. "
                    "Give each range a parameter of its own."
                )
    return found, longest_epochs, longest_warmup


def _check_baseline(
    space: Space, row: str, values: dict[str, Any], distributions: Mapping[str, BaseDistribution]
) -> None:
    place = f"Space {space.name}, baseline {row!r}"
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
