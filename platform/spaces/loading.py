"""Load a search space by name, from a file or from an object, and check it against the recipes before a search."""

from __future__ import annotations

import functools
import inspect
import reprlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, distribution_to_json

from platform.spaces.baselines import paper_row, point_of
from platform.spaces.points import Point, Suggest, rejection
from platform.spaces.registry import built_in, check_space
from shards_tools.errors import Error, nearest, unknown
from shards_tools.plugins import load_space_file
from shards_tools.records import short_repr
from trainables.recipes import RECIPES, get_recipe
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
    suggest: Suggest
    baselines: Mapping[str, dict[str, Any]]  # label -> values of Optuna's parameters
    paper_rows: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # label -> the table and row that print it
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
            TrialPruned: `suggest` rejects the trial's parameters.
        """
        settings = _settings(self.name, self.suggest(trial))
        values = {key: value for key, value in settings.items() if key != "recipe"}
        try:
            recipe = override(get_recipe(settings["recipe"]), values)
            return override(recipe, {"epochs": epochs}) if epochs else recipe
        except Error as mistake:
            raise Error(f"Space {self.name}: {mistake}") from None


def _settings(name: str, suggested: Any) -> dict[str, Any]:
    """Return what `suggest` of the space `name` returned, or raise an Error if it is not a dict with a recipe."""
    if not isinstance(suggested, dict) or "recipe" not in suggested:
        raise Error(f"Space {name}: suggest() returned {suggested!r}. Return a dict with the key 'recipe'.")
    return suggested


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
        suggest = functools.partial(suggest, scale=scale)
    checked = Space(name=name, suggest=_checking(suggest, name), baselines={})
    seen = _probe(checked)
    rows = _rows(name, getattr(source, "BASELINES", {}), scale)
    return Space(
        name=name,
        suggest=suggest,
        baselines=_baselines(checked, rows, seen.distributions),
        paper_rows={
            label: printed for label, row in rows.items() if isinstance(row, str) and (printed := paper_row(row))
        },
        about=(inspect.getdoc(source) or "").partition("\n")[0],
        distributions={key: distribution_to_json(seen.distributions[key]) for key in sorted(seen.distributions)},
        draws=seen.draws,
        longest_epochs=max(recipe.epochs for recipe in seen.recipes),
        longest_warmup=max(recipe.warmup_epochs for recipe in seen.recipes),
        reads_tags=any(getattr(recipe, "text_tokens", 0) > 0 for recipe in seen.recipes),
    )


def _source(space: Any) -> tuple[str, Any]:
    """Return the name of a space and the object with its `suggest`; a function is wrapped in a namespace."""
    if isinstance(space, str):
        return (Path(space).stem, _module_from_file(Path(space))) if space.endswith(".py") else (space, built_in(space))
    name = getattr(space, "__name__", type(space).__name__).rpartition(".")[2].strip("<>")
    return name, space if hasattr(space, "suggest") else SimpleNamespace(suggest=space, __doc__=space.__doc__)


def _module_from_file(path: Path) -> ModuleType:
    try:
        return load_space_file(path)
    except Exception as mistake:
        hint = " Install it, or put it next to the file." if isinstance(mistake, ModuleNotFoundError) else ""
        raise Error(
            f"The space file {path} cannot be imported: {type(mistake).__name__}: {mistake}.{hint}"
        ) from mistake


def _checking(suggest: Suggest, name: str) -> Suggest:
    """Return `suggest` of the space `name`; what it returns is checked, and what it raises becomes an Error."""

    def checked(trial: Any) -> Any:
        try:
            return _settings(name, suggest(trial))
        except (Error, optuna.TrialPruned):
            raise
        except Exception as mistake:
            raise Error(f"Space {name}: suggest() raised {type(mistake).__name__}: {mistake}.") from mistake

    return checked


def _rows(name: str, rows: Any, scale: str) -> Mapping[str, str | Mapping[str, Any]]:
    """Return the parameters or the name of a recipe of each label in BASELINES, which may have one of three forms."""
    if isinstance(rows, Mapping) and rows and set(rows) <= {"paper", "tiny"}:
        rows = rows.get(scale, {})
    if isinstance(rows, list | tuple) and all(isinstance(row, str) for row in rows):
        rows = {row: row for row in rows}
    if not isinstance(rows, Mapping) or not all(isinstance(row, str | Mapping) for row in rows.values()):
        raise Error(
            f"Space {name}: BASELINES is invalid. List names of recipes, or map the label of each row to a dict"
            " of parameter values."
        )
    return rows


def _baselines(
    space: Space, rows: Mapping[str, str | Mapping[str, Any]], distributions: Mapping[str, BaseDistribution]
) -> dict[str, dict[str, Any]]:
    """Return the parameters of each baseline of `space`, whose parameters are those of `distributions`."""
    points = {}
    for label, row in rows.items():
        place = f"Space {space.name}, baseline {label!r}"
        if isinstance(row, str):
            if row not in RECIPES:
                close = nearest(row, RECIPES)
                hint = f" Did you mean {close!r}?" if close else ""
                raise Error(f"{place}: no recipe is called {row!r}.{hint} See `python -m trainables.train --list`.")
            try:
                row = point_of(RECIPES[row], space.suggest, distributions)
            except Error as mistake:
                raise Error(f"{place}: {mistake}") from None
        points[label] = dict(row)
        check_point(space, place, points[label], distributions)
    return points


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
            if key not in self.distributions:
                _check_choices(space, key, distribution)
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


def _check_choices(space: Space, key: str, distribution: BaseDistribution) -> None:
    """Refuse choices that a study cannot restore: JSON turns tuples into lists, and 1 equals True."""
    choices = distribution.choices if isinstance(distribution, CategoricalDistribution) else ()
    for choice in choices:
        if not isinstance(choice, bool | int | float | str | None):
            kind = type(choice).__name__
            raise Error(
                f"Space {space.name}: parameter {key!r} has the choice {reprlib.repr(choice)} of type {kind}, which a"
                " study cannot store. Let it choose a name, and look the value up: {'short': (1, 2)}[name]."
            )
        first = choices[choices.index(choice)] if choice in choices else choice  # NaN is not
        if type(first) is not type(choice):
            raise Error(
                f"Space {space.name}: parameter {key!r} has the choices {first!r} and {choice!r}, which are equal, so"
                " that a study cannot tell them apart. Use choices of one type."
            )


def _probe(space: Space) -> _Seen:
    """Sample the space at random, check each sample, and return what they show."""
    rng = np.random.default_rng(0)
    seen = _Seen()
    num_old = 0  # samples in a row that showed nothing new
    refusal = ""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Choices for a categorical distribution")  # these choices are refused
        for _ in range(MOST_PROBES):
            if num_old > PATIENCE:
                break
            trial = Point(rng)
            try:
                recipe = space.recipe(trial, None)
            except optuna.TrialPruned as reason:
                refusal = rejection(reason)
                continue
            num_old = 0 if seen.add(space, trial, recipe) else num_old + 1
    if not seen.recipes:
        raise Error(f"Space {space.name}: {refusal}, as it did all of {MOST_PROBES} samples. Let it reject fewer.")
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
            raise Error(f"{place}: {key}={short_repr(value)} is outside {distributions[key]}.")
    trial = Point(np.random.default_rng(0), values)
    try:
        space.recipe(trial, None)
    except optuna.TrialPruned as reason:
        raise Error(f"{place}: {rejection(reason)}.") from None
    if missing := sorted(set(trial.params) - set(values)):
        raise Error(f"{place}: {missing[0]} has no value. Add it.")
    if unused := sorted(set(values) - set(trial.params)):
        raise Error(f"{place}: {unused[0]} is not used with these values. Leave it out.")
