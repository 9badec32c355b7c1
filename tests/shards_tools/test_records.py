"""JSON of unknown origin becomes a dataclass whose values have the types of its fields, or one complaint."""

import math
import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from shards_tools.records import parse_object, record


@dataclass(frozen=True)
class Inner:
    """A nested record."""

    name: str
    share: float = 0.5


@dataclass(frozen=True)
class Outer:
    """A record with a field of every kind."""

    number: int
    is_set: bool
    inner: Inner
    rate: float | None
    words: tuple[str, ...]
    counts: dict[str, int]
    anything: Any = None
    more: tuple[Inner, ...] = field(default=())


WHOLE: dict[str, Any] = {
    "number": 3,
    "is_set": True,
    "inner": {"name": "a"},
    "rate": 2,
    "words": ["x", "y"],
    "counts": {"x": 1},
    "anything": [1, "a"],
    "more": [{"name": "b", "share": 0.25}],
}


def test_every_value_gets_the_type_of_its_field() -> None:
    made = record(Outer, WHOLE)
    assert made == Outer(3, True, Inner("a"), 2.0, ("x", "y"), {"x": 1}, [1, "a"], (Inner("b", 0.25),))
    assert type(made.rate) is float
    assert record(Outer, {**WHOLE, "rate": None}).rate is None


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("number", 1.0, "number=1.0 is not an integer"),
        ("number", True, "number=True is not an integer"),
        ("is_set", 1, "is_set=1 is not true or false"),
        ("rate", "1", "rate='1' is not a number"),
        ("rate", True, "rate=True is not a number"),
        ("rate", 10**400, "is too large"),
        ("words", "xy", "words='xy' is not a list"),
        ("words", ["x", 1], "words=1 is not text"),
        ("counts", {"x": "1"}, "counts.x='1' is not an integer"),
        ("counts", [], "counts=[] is not an object"),
        ("inner", {"name": 3}, "name=3 is not text"),
        ("inner", "a", "inner='a' is not an object"),
        ("inner", {}, "it lacks 'name'"),
        ("more", [{"name": "b", "other": 1}], "it has the unknown key 'other'"),
        ("unknown", 1, "it has the unknown key 'unknown'"),
        ("number", "x" * 5000, "x..."),
    ],
)
def test_a_value_of_another_type_is_one_short_complaint(key: str, value: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        record(Outer, {**WHOLE, key: value})
    assert complaint in str(refused.value)
    assert len(str(refused.value)) < 150


def test_a_missing_value_is_named() -> None:
    with pytest.raises(ValueError, match="it lacks 'number'"):
        record(Outer, {key: value for key, value in WHOLE.items() if key != "number"})


@pytest.mark.parametrize("text", ["", "[]", "3", "null", "{", "[" * 100_000, '{"a":' * 100_000, b"\xff", "\x00"])
def test_a_text_that_is_no_object_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_object(text)


def test_what_a_record_accepts_has_the_types_that_it_promises() -> None:
    draw = random.Random(0)
    values = (None, True, 0, -1, 0.5, math.nan, "", "a", [], ["a"], {}, {"x": 1}, {"name": "a"}, [{"name": "a"}])
    accepted = 0
    for _ in range(3000):
        drawn = {**WHOLE, **{draw.choice(list(WHOLE)): draw.choice(values) for _ in range(2)}}
        try:
            made = record(Outer, drawn)
        except ValueError:
            continue
        accepted += 1
        assert type(made.number) is int
        assert type(made.is_set) is bool
        assert type(made.inner) is Inner
        assert made.rate is None or type(made.rate) is float
        assert all(type(word) is str for word in made.words)
        assert all(type(count) is int for count in made.counts.values())
        assert all(type(each) is Inner for each in made.more)
    assert accepted > 100
