"""Dataclasses from JSON of unknown origin: every value has the type of its field, or the whole is refused."""

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

Record = TypeVar("Record")
NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "text", dict: "an object", tuple: "a list"}
MAX_SHOWN = 60  # characters of a value


def parse_object(text: str | bytes) -> dict[str, Any]:
    """Return the JSON object of a text.

    Raises:
        ValueError: the text is not JSON, is nested too deeply, or is something else than an object.
    """
    try:
        values = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(values, dict):
        raise ValueError(f"it holds {short_repr(values)}, not an object")
    return values


def record(kind: type[Record], values: Mapping[str, Any]) -> Record:
    """Return the dataclass with these values; nested dataclasses, lists and objects are made too.

    Args:
        kind: a dataclass with fields of bool, int, float, str, Any, None, or tuples, dicts and dataclasses of them.
        values: by field; a field with a default may be missing.

    Raises:
        ValueError: a field is missing or unknown, or a value has another type.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    has_default = {
        name
        for name, field in fields.items()
        if field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    }
    if unknown := sorted(values.keys() - fields.keys()):
        raise ValueError(f"it has the unknown key {short_repr(unknown[0])}")
    if missing := sorted(fields.keys() - has_default - values.keys()):
        raise ValueError(f"it lacks {missing[0]!r}")
    kinds = _kinds(kind)  # type: ignore[arg-type]  # a class is hashable
    return kind(**{name: _typed(name, value, kinds[name]) for name, value in values.items()})


@functools.cache
def _kinds(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def short_repr(value: object) -> str:
    """Return a value for a message; a long one is cut."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _typed(name: str, value: Any, kind: Any) -> Any:
    if kind is Any:
        return value
    origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _typed(name, value, arguments[0])
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return record(kind, value)  # type: ignore[arg-type]  # not an instance
    if origin is tuple and isinstance(value, list | tuple):
        if arguments[0] in (bool, int, str) and set(map(type, value)) <= {arguments[0]}:
            return tuple(value)  # a manifest has hundreds of thousands of names
        return tuple(_typed(name, entry, arguments[0]) for entry in value)
    if origin is dict and isinstance(value, dict):
        return {key: _typed(f"{name}.{key}", entry, arguments[1]) for key, entry in value.items()}
    if origin is float and isinstance(value, int | float) and not isinstance(value, bool):
        return _as_float(name, value)
    if type(value) is origin or (dataclasses.is_dataclass(kind) and isinstance(value, kind)):  # type: ignore[arg-type]
        return value
    raise ValueError(f"{name}={short_repr(value)} is not {NAMES.get(origin, 'an object')}")


def _as_float(name: str, value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name}={short_repr(value)} is too large") from None
