"""The recipes, one file per system; RECIPES is the registry."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from shards_tools.errors import Error, unknown
from trainables.recipes import agw, animesion, dafre, icartoonface, open_networks, transreid
from trainables.recipes.recipe import IDENTITY_FIELDS, Recipe
from trainables.recipes.settings import override
from trainables.recipes.tiny import tiny_form

FAMILIES: dict[str, type[Recipe]] = {
    "transreid": transreid.TransReIDRecipe,
    "agw": agw.AGWRecipe,
    "dafre": dafre.DAFreRecipe,
    "animesion": animesion.AnimesionRecipe,
    "icartoonface": icartoonface.CartoonRecipe,
    "open": open_networks.OpenRecipe,
}
AT_BOTH_SCALES = (
    *transreid.RECIPES,
    *agw.RECIPES,
    *dafre.RECIPES,
    *animesion.RECIPES,
    *icartoonface.RECIPES,
    *open_networks.RECIPES,
)
# every recipe of the papers' networks has a tiny twin, NAME-tiny
RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (*AT_BOTH_SCALES, *(tiny_form(recipe) for recipe in AT_BOTH_SCALES if recipe.scale == "paper"))
}


def get_recipe(name: str) -> Recipe:
    """The recipe called `name`."""
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]


def recipe_from_dict(values: Mapping[str, Any]) -> Recipe:
    """Return the recipe that `dataclasses.asdict` gave, as read back from JSON; every field is checked again."""
    family = FAMILIES.get(str(values.get("system")))
    if family is None:
        raise unknown("system", str(values.get("system")), FAMILIES)
    fields = {field.name: field for field in dataclasses.fields(family)}
    for name in values:
        if name not in fields:
            raise unknown("recipe key", name, fields)
    # a setting that an earlier version did not have takes its default, which is what that version did
    settings: dict[str, Any] = {**{name: field.default for name, field in fields.items()}, **values}
    if missing := sorted(name for name, value in settings.items() if value is dataclasses.MISSING):
        raise Error(f"The recipe {settings['name']!r} lacks {missing[0]}. Use the version that wrote it.")
    identity = {name: settings.pop(name) for name in IDENTITY_FIELDS}
    # any recipe of the family will do: every field is set
    some = next(recipe for recipe in RECIPES.values() if type(recipe) is family)
    return override(dataclasses.replace(some, **identity), settings)
