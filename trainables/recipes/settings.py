"""Set fields of a recipe from values, as in spaces and JSON, or from `key=value` texts."""

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from shards_tools.errors import Error, unknown
from shards_tools.records import short_repr
from trainables.recipes.images import SIZE_RULE, ImageSize, as_size
from trainables.recipes.recipe import IDENTITY_FIELDS, Recipe

AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)
# Names in earlier versions, which checkpoints, studies and users' spaces may still use -> current names.
FORMER_KEYS = {
    "optimiser": "optimizer",
    "plan": "batch_sampler",
    "centre_weight": "center_weight",
    "sub_centres": "sub_centers",
    "checkpointing": "activation_checkpointing",
}
FORMER_VALUES = {("precision", "float32"): "tf32"}  # by key and former value


def with_current_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings under the current names of their keys and values.

    Raises:
        Error: a setting is given under both of its names.
    """
    for former, key in FORMER_KEYS.items():
        if former in values and key in values:
            raise Error(f"{former} is the former name of {key}, and both are set. Remove {former}.")
    current = {FORMER_KEYS.get(key, key): value for key, value in values.items()}
    return {key: _current_value(key, value) for key, value in current.items()}


def _current_value(key: str, value: Any) -> Any:
    return FORMER_VALUES.get((key, value), value) if isinstance(value, str) else value


def override(recipe: AnyRecipe, values: Mapping[str, object]) -> AnyRecipe:
    """Return the recipe with these fields set; names, types and ranges are checked.

    Args:
        recipe: any recipe of the family.
        values: key -> value; former names of keys are accepted.

    Raises:
        Error: a key is unknown, or a value is invalid.
    """
    kinds = settable(recipe)
    changes: dict[str, Any] = {}
    for key, value in recipe.completed(with_current_names(values)).items():
        changes[key] = _typed(recipe, key, value, _kind(recipe, key, kinds))
    return dataclasses.replace(recipe, **changes)


def parse_settings(settings: Sequence[str], recipe: Recipe) -> dict[str, object]:
    """Parse `key=value` texts, each as its field's type; `none` sets an optional field to None.

    Raises:
        Error: a text has no value, a key is unknown, or a value does not have the type of its field.
    """
    kinds = settable(recipe)
    texts: dict[str, str] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise Error(f"{setting!r} has no value. Write key=value, as in lr=0.01.")
        texts[key] = text
    values: dict[str, object] = {}
    for key, text in with_current_names(texts).items():
        kind = _kind(recipe, key, kinds)
        values[key] = text if text in recipe.WORDS.get(key, ()) else _parsed(recipe, key, text, kind)
    return values


def settable(recipe: Recipe) -> dict[str, Any]:
    """Return the type of every field of this recipe that can be set, by name."""
    return _settable(type(recipe))  # type: ignore[arg-type]  # a class is hashable


@functools.cache  # resolving type hints takes milliseconds
def _settable(family: type[Recipe]) -> dict[str, Any]:
    kinds = typing.get_type_hints(family)
    return {field.name: kinds[field.name] for field in dataclasses.fields(family) if field.name not in IDENTITY_FIELDS}


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """Return the value of every field that can be set: all except the `IDENTITY_FIELDS`."""
    return {key: getattr(recipe, key) for key in settable(recipe)}


def as_stored(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe's name as `recipe`, and its settings, as JSON gives them back."""
    stored: dict[str, Any] = json.loads(json.dumps({"recipe": recipe.name, **settings_of(recipe)}))
    return stored


def _kind(recipe: Recipe, key: str, kinds: Mapping[str, Any]) -> Any:
    if key in IDENTITY_FIELDS:
        raise Error(f"{key} identifies the recipe {recipe.name} and cannot be set. Use another recipe instead.")
    if key not in kinds:
        raise unknown("recipe key", key, kinds)
    return kinds[key]


def _typed(recipe: Recipe, key: str, value: object, kind: Any) -> object:
    """Return `value` converted to the field's type, or raise an Error with both."""
    if kind == ImageSize:
        if as_size(value) is None:
            raise Error(f"{recipe.name}: {key}={short_repr(value)} is invalid: it must be {SIZE_RULE}.")
        return value
    if isinstance(kind, types.UnionType):
        return None if value is None else _typed(recipe, key, value, typing.get_args(kind)[0])
    if typing.get_origin(kind) is Literal:
        if value not in typing.get_args(kind):
            raise unknown(key, short_repr(value).strip("'"), typing.get_args(kind))
        return value
    if typing.get_origin(kind) is tuple and isinstance(value, list | tuple):
        return tuple(_typed(recipe, key, entry, typing.get_args(kind)[0]) for entry in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind in (bool, int, float, str) and type(value) is kind:
        return value
    hint = " Write it as a number, without quotes." if kind in (int, float) and isinstance(value, str) else ""
    raise Error(
        f"{recipe.name}: {key}={short_repr(value)} is {type(value).__name__}, not {_describe_type(kind)}.{hint}"
    )


def _parsed(recipe: Recipe, key: str, text: str, kind: Any) -> object:
    if kind == ImageSize:
        if size := as_size(text):
            return size.setting
    elif isinstance(kind, types.UnionType):
        return None if text.lower() == "none" else _parsed(recipe, key, text, typing.get_args(kind)[0])
    elif kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    elif kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    elif typing.get_origin(kind) is tuple:
        parts = text.split(",") if text else []
        return tuple(_parsed(recipe, key, part, typing.get_args(kind)[0]) for part in parts)
    elif kind is not bool:
        return text
    raise Error(f"{recipe.name}: {key}={text} is invalid: it must be {_describe_type(kind)}.")


def _describe_type(kind: Any) -> str:
    names = {bool: "true or false", int: "an integer", float: "a number", str: "text"}
    if kind == ImageSize:
        return SIZE_RULE
    if kind in names:
        return names[kind]
    entries = typing.get_args(kind)
    if Ellipsis in entries:
        return "integers, as in 40,80"
    return {2: "two numbers, as in 0.5,1", 3: "three numbers, as in 0.5,0.5,0.5"}[len(entries)]
