"""Which choices lead to a parameter is told from draws alone."""

import itertools
from typing import Any

from platform.spaces.conditions import conditions_of

CHOICES: dict[str, list[Any]] = {"color": ["red", "green", "blue"], "size": [1, 2], "deep": [False, True]}


def draw(color: str, size: int) -> dict[str, Any]:
    """Red asks for shade."""
    asked: dict[str, Any] = {"color": color}
    if color == "red":
        asked["shade"] = 0.5
    asked["size"] = size
    return asked


def deeper(color: str, size: int, deep: bool) -> dict[str, Any]:
    """Green and blue of size 2 ask whether deep, and that for depth."""
    asked = draw(color, size)
    if color != "red" and size == 2:
        asked["deep"] = deep
        if deep:
            asked["depth"] = 3
    return asked


DRAWS = [
    deeper(color, size, deep)
    for color, size, deep in itertools.product(CHOICES["color"], CHOICES["size"], CHOICES["deep"])
]


def test_a_parameter_that_is_always_asked_for_has_no_condition() -> None:
    assert conditions_of(DRAWS, CHOICES)["size"] == {}


def test_one_choice_is_told() -> None:
    assert conditions_of(DRAWS, CHOICES)["shade"] == {"color": ["red"]}


def test_choices_of_two_parameters_are_told_together() -> None:
    assert conditions_of(DRAWS, CHOICES)["deep"] == {"color": ["green", "blue"], "size": [2]}


def test_the_nearest_choice_is_enough() -> None:
    assert conditions_of(DRAWS, CHOICES)["depth"] == {"deep": [True]}


def test_parameters_stand_in_the_order_of_asking() -> None:
    assert list(conditions_of(DRAWS[::-1], CHOICES)) == ["color", "shade", "size", "deep", "depth"]


def test_a_choice_that_is_not_always_made_before_it_tells_nothing() -> None:
    draws = [{"deep": True, "size": 2, "end": 0}, {"size": 2, "end": 0}, {"deep": False, "size": 1}, {"size": 1}]
    assert conditions_of(draws, CHOICES)["end"] == {"size": [2]}


def test_either_of_two_choices_is_not_told_by_one() -> None:
    either = [{"a": a, "b": b, **({"c": 1} if a or b else {})} for a in (0, 1) for b in (0, 1)]
    assert conditions_of(either, {"a": [0, 1], "b": [0, 1]})["c"] is None
