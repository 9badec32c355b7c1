"""Command-line options declared once: as the fields of a frozen dataclass, or for several commands."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from shards_tools.command import Parser
from shards_tools.errors import Error


def option(
    *,
    help: str,
    default: Any = None,
    metavar: str | None = None,
    rule: Callable[[str], Any] | None = str,
    choices: Callable[[], Iterable[str]] | None = None,
    many: bool = False,
) -> Any:
    """Declare a field that is an option of the same name, with dashes for underscores.

    Args:
        default: `...` if the option is required; False makes it a switch.
        rule: converts the text of the option; raises argparse.ArgumentTypeError for a value that it refuses. None: the
            dataclass checks the field itself.
        choices: returns the values that are allowed.
        many: whether the option takes several values, which the field holds as a tuple.
    """
    declared = {"help": help, "metavar": metavar, "rule": rule, "choices": choices, "many": many}
    default = dataclasses.MISSING if default is ... else default
    return dataclasses.field(default=default, metadata=declared)


def add_options(parser: Parser, config: type) -> None:
    """Give the command line one option for each field of `config`."""
    for field in dataclasses.fields(config):
        declared = field.metadata
        settings: dict[str, Any] = {"help": declared["help"]}
        if field.default is False:
            settings["action"] = "store_true"
        else:
            required = field.default is dataclasses.MISSING
            settings |= {"required": True} if required else {"default": field.default}
            settings |= {"metavar": declared["metavar"], "type": declared["rule"]}
            if declared["choices"]:
                settings["choices"] = tuple(declared["choices"]())
            if declared["many"]:
                settings |= {"nargs": "+", "action": "extend", "default": []}
        parser.add_argument(name_of(field), dest=field.name, **settings)


def check_fields(config: Any) -> None:
    """Convert every field by its rule, as the command line does.

    Raises:
        Error: a value is refused; the message names the field as it is written in Python.
    """
    for field in dataclasses.fields(config):
        value, declared = getattr(config, field.name), field.metadata
        if declared["rule"] is None or (value is None and field.default is None):
            continue
        if field.default is False:
            if not isinstance(value, bool):
                raise Error(f"{field.name}={value!r} is invalid: it must be True or False.")
            continue
        values = [value] if not declared["many"] or isinstance(value, str) else list(value)
        converted = tuple(_converted(field, one) for one in values)
        object.__setattr__(config, field.name, converted if declared["many"] else converted[0])


def _converted(field: dataclasses.Field[Any], value: object) -> object:
    choices = field.metadata["choices"]
    if choices and value not in choices():
        raise Error(f"{field.name}={value!r} is invalid: choose from {', '.join(choices())}.")
    try:
        return field.metadata["rule"](str(value))
    except (argparse.ArgumentTypeError, ValueError) as mistake:
        raise Error(f"{field.name}={value!r} is invalid: {mistake}.") from None


def name_of(field: dataclasses.Field[Any]) -> str:
    """Return the option of a field; a trailing underscore, which avoids a keyword of Python, is left out."""
    return "--" + field.name.rstrip("_").replace("_", "-")


def add_checkpoint(arguments: argparse.ArgumentParser) -> None:
    """Add the argument CHECKPOINT to a command."""
    arguments.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="a folder with checkpoint.json, such as OUT/last, or s3://, gs://"
    )
