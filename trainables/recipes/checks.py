"""How a recipe's fields are checked: each message names the recipe, the field, its value and the rule."""

import math
from typing import Any

from shards_tools.errors import Error


def require(recipe: Any, key: str, holds: bool, rule: str) -> None:
    """Error unless it holds: the field's value must be what `rule` says."""
    if not holds:
        raise Error(f"{recipe.name}: {key}={getattr(recipe, key)!r} does not do: it must be {rule}.")


def above_zero(recipe: Any, *keys: str) -> None:
    """Each field is a finite number above 0."""
    for key in keys:
        value = getattr(recipe, key)
        require(recipe, key, math.isfinite(value) and value > 0, "a finite number above 0")


def at_least_zero(recipe: Any, *keys: str) -> None:
    """Each field is a finite number of at least 0."""
    for key in keys:
        value = getattr(recipe, key)
        require(recipe, key, math.isfinite(value) and value >= 0, "a finite number of at least 0")


def probabilities(recipe: Any, *keys: str) -> None:
    """Each field lies in 0..1."""
    for key in keys:
        require(recipe, key, 0 <= getattr(recipe, key) <= 1, "a probability, in 0..1")


def one_of(recipe: Any, key: str, *choices: str) -> None:
    """The field is one of these."""
    require(recipe, key, getattr(recipe, key) in choices, f"one of {', '.join(choices)}")
