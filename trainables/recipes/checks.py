"""Checks of a recipe's fields. Each error names the recipe, the field, its value and the rule."""

import dataclasses
import math
import types
import typing
from functools import cache
from typing import Any, Literal

from shards_tools.errors import Error, unknown
from shards_tools.records import short_repr


def require(recipe: Any, key: str, holds: bool, rule: str) -> None:
    """Raise an Error unless a rule holds.

    Args:
        recipe: named in the message.
        key: the field that the rule is about.
        holds: whether the rule holds.
        rule: what the field's value must be; it ends the message "it must be ...".

    Raises:
        Error: the rule does not hold.
    """
    if not holds:
        raise Error(f"{recipe.name}: {key}={short_repr(getattr(recipe, key))} is invalid: it must be {rule}.")


def above_zero(recipe: Any, *keys: str) -> None:
    """Raise an Error unless each field is a finite number above 0."""
    for key in keys:
        value = getattr(recipe, key)
        require(recipe, key, math.isfinite(value) and value > 0, "a finite number above 0")


def at_least_zero(recipe: Any, *keys: str) -> None:
    """Raise an Error unless each field is a finite number of at least 0."""
    for key in keys:
        value = getattr(recipe, key)
        require(recipe, key, math.isfinite(value) and value >= 0, "a finite number of at least 0")


def probabilities(recipe: Any, *keys: str) -> None:
    """Raise an Error unless each field is in 0..1."""
    for key in keys:
        require(recipe, key, 0 <= getattr(recipe, key) <= 1, "a probability from 0 to 1")


def check_choices(recipe: Any) -> None:
    """Check the fields of type `Literal`.

    Raises:
        Error: a field has none of its values; the message suggests the nearest one.
    """
    for key, choices in _choices(type(recipe)).items():  # type: ignore[arg-type]  # a class is hashable
        if getattr(recipe, key) not in choices:
            raise unknown(key, str(getattr(recipe, key)), filter(None, choices))


@cache
def _choices(family: type) -> dict[str, tuple[str | None, ...]]:
    """Return the choices of every field of type `Literal` or `Literal | None`."""
    kinds = typing.get_type_hints(family)
    choices = {}
    for field in dataclasses.fields(family):
        kind = kinds[field.name]
        is_union = typing.get_origin(kind) in (typing.Union, types.UnionType)
        for each in typing.get_args(kind) if is_union else (kind,):
            if typing.get_origin(each) is Literal:
                choices[field.name] = (*typing.get_args(each), *([None] if is_union else []))
    return choices
