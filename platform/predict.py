"""Ask a checkpoint about pictures: are two from the same work, what is nearest, or which class does each show?"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from platform.options import add_checkpoint
from platform.terminal.console import table_console
from shards_tools.command import Parser, add_json_option, positive_int, print_json, run, say
from shards_tools.errors import Error
from shards_tools.formats import NAMES
from shards_tools.plugins import add_code_options, load_plugins
from trainables.evaluation.metric_names import USUAL_FALSE_ACCEPT_RATE

EXAMPLE = """examples:
  python -m platform.predict CHECKPOINT --calibrate shards/lsasrd             once, for --pair
  python -m platform.predict CHECKPOINT --pair one.jpg other.jpg
  python -m platform.predict CHECKPOINT pictures/ --nearest shards/lsasrd --top 3
  python -m platform.predict CHECKPOINT face.png                              the classes it was trained on
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the answer, and with --json one JSON object."""
    options = parser().parse_args(arguments)
    refuse_what_does_not_go_together(options)
    load_plugins(options.import_, accept_changed_code=options.accept_changed_code)
    from platform.prediction import answer  # imports torch, which takes seconds

    found = answer(
        options.checkpoint,
        shards=options.calibrate,
        pair=options.pair,
        false_accept_rate=options.false_accept_rate,
        pictures=options.pictures,
        gallery=options.nearest,
        top=options.top,
    )
    if "pictures" in found:
        show(found["pictures"])
    if options.json:
        print_json(found)


def parser() -> Parser:
    """Return the command line's parser."""
    arguments = Parser(prog="python -m platform.predict", description=__doc__, epilog=EXAMPLE)
    add_checkpoint(arguments)
    add = arguments.add_argument
    add("pictures", type=Path, nargs="*", metavar="PICTURE", help=f"pictures ({NAMES}), or folders of them")
    add("--pair", type=Path, nargs=2, metavar=("A", "B"), help="are these two pictures from the same work?")
    add("--calibrate", metavar="SHARDS", help="measure and store the thresholds of --pair on the validation split")
    add(
        "--false-accept-rate",
        type=fraction,
        default=USUAL_FALSE_ACCEPT_RATE,
        metavar="F",
        help=f"fraction of pairs of different works that --pair may accept; default: {USUAL_FALSE_ACCEPT_RATE}",
    )
    add("--nearest", metavar="GALLERY", help="shards, or a folder with WORK/ROLE/IMAGE, CLASS/IMAGE or only images")
    add("--top", type=positive_int, default=5, metavar="K", help="answers per picture; default: 5")
    add_code_options(arguments)
    add_json_option(arguments)
    return arguments


def fraction(text: str) -> float:
    """Return the argument as a number between 0 and 1, both excluded."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return number


def refuse_what_does_not_go_together(options: argparse.Namespace) -> None:
    """Refuse options that contradict each other, and a command without a question.

    Raises:
        Error: there is nothing to predict, or an option does not fit the others.
    """
    if options.pair and options.pictures:
        raise Error(f"{options.pictures[0]}: --pair takes exactly two pictures. Give other pictures without --pair.")
    if options.nearest and not options.pictures:
        raise Error(f"--nearest {options.nearest} needs pictures to search for. Give files or folders of pictures.")
    if not (options.pair or options.pictures or options.calibrate):
        raise Error("There is nothing to predict. Give pictures, --pair A B or --calibrate SHARDS; see --help.")


def show(entries: Sequence[dict[str, Any]]) -> None:
    """Print a table with one line per answer, under the picture it is about, and a line on pictures without any."""
    read = [entry for entry in entries if "error" not in entry]
    answers = [entry.get("nearest") or entry["classes"] for entry in read]
    table = Table("picture", *answers[0][0])
    for column in table.columns:
        column.overflow = "fold"
    for entry, row in zip(read, answers, strict=True):
        for place, answer in enumerate(row):
            cells = [f"{value:.4g}" if isinstance(value, float) else value for value in answer.values()]
            table.add_row(entry["picture"] if place == 0 else "", *cells)
    table_console().print(table)
    errors = [entry["error"] for entry in entries if "error" in entry]
    if errors:
        say(f"{len(errors):,} of {len(entries):,} pictures have no answer, such as: {errors[0]}")


if __name__ == "__main__":
    run(main)
