"""The registry of recipes, to which users can add their own, and the numbers that the papers print for them."""

import csv
import dataclasses
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from shards_tools.errors import Error, unknown
from shards_tools.registry import Registry
from trainables.recipes import agw, animesion, dafre, icartoonface, open_networks, transreid
from trainables.recipes.recipe import IDENTITY_FIELDS, Recipe
from trainables.recipes.settings import override, with_current_names
from trainables.recipes.tiny import tiny_form

SYSTEMS = (transreid, agw, dafre, animesion, icartoonface, open_networks)
AT_BOTH_SCALES: tuple[Recipe, ...] = tuple(recipe for system in SYSTEMS for recipe in system.RECIPES)
FAMILIES: dict[str, type[Recipe]] = {recipe.system: type(recipe) for recipe in AT_BOTH_SCALES}
# every recipe at paper scale has a tiny twin, NAME-tiny; some are set by hand
RECIPES: Registry[Recipe] = Registry(
    "recipe", {recipe.name: recipe for recipe in AT_BOTH_SCALES}, "python -m trainables.train --list"
)
for _paper in AT_BOTH_SCALES:
    if _paper.scale == "paper":
        RECIPES.setdefault(f"{_paper.name}-tiny", tiny_form(_paper))


def get_recipe(name: str) -> Recipe:
    """Return the recipe called `name`.

    Raises:
        Error: there is no such recipe.
    """
    return RECIPES.find(name)


def register_recipe(name: str, base: str, **settings: object) -> None:
    """Make a recipe available as `--recipe NAME`: the recipe `base` with these settings.

    If `base` is at paper scale, its tiny twin NAME-tiny is registered too, unless that name is taken.

    Raises:
        Error: there is no recipe `base`, a setting is invalid, or the name is taken by a different recipe.
    """
    recipe = override(get_recipe(base).variant(name, preset=None), settings)
    twin = tiny_form(recipe) if recipe.scale == "paper" and f"{name}-tiny" not in RECIPES else None
    RECIPES.register(name, recipe)
    if twin is not None:
        RECIPES.register(twin.name, twin)


def recipe_from_dict(values: Mapping[str, Any]) -> Recipe:
    """Return the recipe from the output of `dataclasses.asdict`, read back from JSON; every field is checked again.

    Raises:
        Error: the system or a key is unknown, a value is invalid, or a key without a default is missing.
    """
    family = FAMILIES.get(str(values.get("system")))
    if family is None:
        raise unknown("system", str(values.get("system")), FAMILIES)
    fields = {field.name: field for field in dataclasses.fields(family)}
    values = with_current_names(values)
    for name in values:
        if name not in fields:
            raise unknown("recipe key", name, fields)
    # settings that an earlier version did not have take their defaults, which match its behavior
    settings: dict[str, Any] = {**{name: field.default for name, field in fields.items()}, **values}
    if missing := sorted(name for name, value in settings.items() if value is dataclasses.MISSING):
        raise Error(f"The recipe {settings['name']!r} lacks {missing[0]}. Use the version that wrote it.")
    identity = {name: settings.pop(name) for name in IDENTITY_FIELDS}
    # any recipe of the family works, because every field is set
    some = next(recipe for recipe in RECIPES.values() if type(recipe) is family)
    return override(dataclasses.replace(some, **identity), settings)


def printed_numbers(table: str, row: str) -> dict[str, float]:
    """Return metric -> fraction, by the names that evaluations use; empty if the table has no such row.

    LSASRD's numbers are means of five folds, PaddleClas's is recall@1 on a gallery, and the others are on the test
    split.
    """
    with files("trainables.recipes").joinpath("printed.csv").open(encoding="utf-8") as file:
        own = next((entry for entry in csv.DictReader(file) if (entry["table"], entry["row"]) == (table, row)), {})
    return {name: float(text) / 100 for name, text in own.items() if text and name not in ("table", "row")}
