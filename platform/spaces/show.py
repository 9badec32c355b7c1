"""List the search spaces, or show the parameters, conditions and baselines of one."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna

from platform.spaces.conditions import conditions_of
from platform.spaces.loading import Space, load_space
from platform.spaces.registry import space_names
from shards_tools.command import Parser, add_json_option, data_printer, print_json, say

SCALES = ("paper", "tiny")
WIDTH = 120
LONG_WIDTH = 200  # for the list, with one line per space
Write = Callable[[str], None]  # prints a line

NO_BREAK = "\xa0"  # a space at which lines are not wrapped

EXAMPLE = """examples:
  python -m search_spaces --list
  python -m search_spaces --show transreid --scale tiny
  python -m search_spaces --show mine.py --json
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `python -m search_spaces`."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    parser = Parser(prog="python -m search_spaces", description=__doc__, epilog=EXAMPLE)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--list", action="store_true", help="list the built-in spaces")
    what.add_argument(
        "--show", metavar="NAME|FILE.py", help="show the parameters, conditions and baselines of one space"
    )
    parser.add_argument("--scale", choices=SCALES, help="with --show: one scale instead of both")
    add_json_option(parser)
    options = parser.parse_args(arguments)
    write = data_printer(options.json)
    if options.list and options.scale:
        parser.error("--scale is only valid with --show")
    if options.list:
        shown = {"spaces": [_summarize(name) for name in space_names()]}
        _write_list(shown["spaces"], write)
    else:
        scales = (options.scale,) if options.scale else SCALES
        shown = _describe({scale: load_space(options.show, scale) for scale in scales})
        _write_space(shown, write)
    if options.json:
        print_json(shown)


def _summarize(name: str) -> dict[str, Any]:
    """Return the description of a space and its numbers of parameters and baselines at each scale."""
    spaces = {scale: load_space(name, scale) for scale in SCALES}
    scales = {
        scale: {"num_parameters": len(space.distributions), "num_baselines": len(space.baselines)}
        for scale, space in spaces.items()
    }
    return {"name": name, "about": spaces["paper"].about, "scales": scales}


def _describe(spaces: Mapping[str, Space]) -> dict[str, Any]:
    """Return a JSON-serializable description of a space.

    The `where` of a parameter is None if choices alone do not determine whether the space asks for it.
    """
    some = next(iter(spaces.values()))
    scales = {
        scale: {
            "longest_epochs": space.longest_epochs,
            "parameters": _parameters(space),
            "baselines": {row: dict(values) for row, values in space.baselines.items()},
        }
        for scale, space in spaces.items()
    }
    return {"name": some.name, "about": some.about, "scales": scales}


def _parameters(space: Space) -> list[dict[str, Any]]:
    """Return each parameter with its range and its condition, in the order in which the space asks for them."""
    ranges = {name: json.loads(text) for name, text in space.distributions.items()}
    choices = {
        name: entry["attributes"]["choices"]
        for name, entry in ranges.items()
        if entry["name"] == "CategoricalDistribution"
    }
    conditions = conditions_of(space.draws, choices)
    return [
        {"name": name, "kind": _kind(ranges[name]["name"]), **ranges[name]["attributes"], "where": where}
        for name, where in conditions.items()
    ]


def _kind(distribution: str) -> str:
    return {"CategoricalDistribution": "choice", "IntDistribution": "whole number"}.get(distribution, "number")


def _write_list(spaces: Sequence[Mapping[str, Any]], write: Write) -> None:
    width = max(len(space["name"]) for space in spaces)
    say(f"{'':{width}}" + "".join(f"{scale:>9}" for scale in SCALES) + "  parameters + baselines")
    for space in spaces:
        counts = [f"{entry['num_parameters']} + {entry['num_baselines']}" for entry in space["scales"].values()]
        start = f"{space['name']:{width}}" + "".join(f"{count:>9}" for count in counts) + "  "
        _write_wrapped(start, space["about"], write, LONG_WIDTH)


def _write_space(space: Mapping[str, Any], write: Write) -> None:
    write(f"{space['name']}: {space['about'] or 'no docstring'}")
    for scale, entry in space["scales"].items():
        parameters, baselines = entry["parameters"], entry["baselines"]
        counts = [(len(parameters), "parameter"), (len(baselines), "baseline"), (entry["longest_epochs"], "epoch")]
        write("")
        write(f"{scale} scale: " + ", ".join(f"{number} {noun}{'' if number == 1 else 's'}" for number, noun in counts))
        width = max((len(parameter["name"]) for parameter in parameters), default=0)
        choices = {parameter["name"]: parameter.get("choices", ()) for parameter in parameters}
        for parameter in parameters:
            text = f"{_range(parameter)}{_where(parameter['where'], choices)}"
            _write_wrapped(f"  {parameter['name']:{width}}  ", text, write)
        for row, values in baselines.items():
            write(f"  baseline {row}")
            _write_wrapped(
                "    ", ", ".join(f"{name}{NO_BREAK}{_value(value)}" for name, value in values.items()), write
            )


def _write_wrapped(start: str, text: str, write: Write, longest: int = WIDTH) -> None:
    """Write `start` and `text`, wrapped to the width of the terminal or `longest`, whichever is smaller."""
    width = min(longest, shutil.get_terminal_size((longest, 0)).columns)
    lines = textwrap.fill(text, width, initial_indent=start, subsequent_indent=" " * len(start), break_on_hyphens=False)
    write(lines.replace(NO_BREAK, " "))


def _range(parameter: Mapping[str, Any]) -> str:
    if parameter["kind"] == "choice":
        return " | ".join(_value(choice) for choice in parameter["choices"])
    step = f" in steps of {_value(parameter['step'])}" if parameter["step"] not in (None, 1) else ""
    return f"{_value(parameter['low'])} to {_value(parameter['high'])}{step}{', log' if parameter['log'] else ''}"


def _where(condition: Mapping[str, Sequence[Any]] | None, choices: Mapping[str, Sequence[Any]]) -> str:
    """Return a condition as text, which lists the required or the excluded choices, whichever are fewer."""
    if condition is None:
        return ", in some samples"
    parts = []
    for name, leading in condition.items():
        others = [choice for choice in choices[name] if choice not in leading]
        is_short = len(leading) <= len(others)
        spoken = " or ".join(_value(value) for value in (leading if is_short else others))
        parts.append(f"{name} is {'' if is_short else 'not '}{spoken}")
    return f", where {' and '.join(parts)}" if parts else ""


def _value(value: Any) -> str:
    """Return a value in the notation of `--set`."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
