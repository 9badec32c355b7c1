"""Which choices lead to a parameter of a space, as random draws tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Draw = Mapping[str, Any]  # parameter -> value, in the order of asking
Condition = dict[str, list[Any]]  # parameter -> those of its values that lead on


def conditions_of(draws: Sequence[Draw], choices: Mapping[str, Sequence[Any]]) -> dict[str, Condition | None]:
    """What each parameter is asked after: nothing, all of these choices, or None where no choices tell.

    Args:
        choices: of each categorical parameter, in their order.
    """
    return {name: _condition_of(name, draws, choices) for name in _in_order_of_asking(draws)}


def _in_order_of_asking(draws: Sequence[Draw]) -> list[str]:
    """All parameters, each after the one that it was first asked after."""
    names: list[str] = []
    for draw in draws:
        place = 0
        for name in draw:
            if name not in names:
                names.insert(place, name)
            place = names.index(name) + 1
    return names


def _condition_of(name: str, draws: Sequence[Draw], choices: Mapping[str, Sequence[Any]]) -> Condition | None:
    """Choices are added until no draw is left that has them all and lacks the parameter, the most telling first."""
    having = [draw for draw in draws if name in draw]
    lacking = [draw for draw in draws if name not in draw]
    leading = {
        other: [value for value in choices[other] if any(draw[other] == value for draw in having)]
        for other in _asked_before(name, having[0])
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


def _asked_before(name: str, draw: Draw) -> list[str]:
    asked = list(draw)
    return asked[: asked.index(name)]
