"""Infer from random samples of a space which choices make it ask for a parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Draw = Mapping[str, Any]  # one sample: parameter -> value, in the order in which the space asks for them
Condition = dict[str, list[Any]]  # parameter -> the values that it must have one of


def conditions_of(draws: Sequence[Draw], choices: Mapping[str, Sequence[Any]]) -> dict[str, Condition | None]:
    """Return the condition under which the space asks for each parameter.

    Args:
        draws: random samples of the space.
        choices: the choices of each categorical parameter.

    Returns:
        Per parameter: the values that earlier parameters must have, empty if the space always asks for it, or None if
        choices do not explain when it does.
    """
    return {name: _condition_of(name, draws, choices) for name in _parameter_order(draws)}


def _parameter_order(draws: Sequence[Draw]) -> list[str]:
    """Return the names of all parameters; a name new in a sample is inserted after the one before it there."""
    names: list[str] = []
    for draw in draws:
        place = 0
        for name in draw:
            if name not in names:
                names.insert(place, name)
            place = names.index(name) + 1
    return names


def _condition_of(name: str, draws: Sequence[Draw], choices: Mapping[str, Sequence[Any]]) -> Condition | None:
    """Return the condition of one parameter, built greedily.

    Each step adds the parameter whose values exclude the most samples that lack `name`, until none of them is left.
    """
    having = [draw for draw in draws if name in draw]
    lacking = [draw for draw in draws if name not in draw]
    leading = {
        other: [value for value in choices[other] if any(draw[other] == value for draw in having)]
        for other in _parameters_before(name, having[0])
        if other in choices and all(other in draw for draw in having)
    }
    condition: Condition = {}
    while lacking:
        left = {
            other: [draw for draw in lacking if other in draw and draw[other] in values]
            for other, values in leading.items()
        }
        best = min(left, key=lambda other: len(left[other]), default=None)
        if best is None or len(left[best]) == len(lacking):
            return None
        condition[best] = leading[best]
        lacking = left[best]
    return condition


def _parameters_before(name: str, draw: Draw) -> list[str]:
    asked = list(draw)
    return asked[: asked.index(name)]
