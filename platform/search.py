"""Search the settings of a recipe: Optuna suggests and prunes, Ray trains, MLflow shows the results."""

from __future__ import annotations

if __name__ == "__main__":  # before imports that take seconds
    from platform.signals import leave_at_ctrl_c

    leave_at_ctrl_c()

from collections.abc import Sequence

from platform.config import SearchConfig
from platform.options import add_options
from platform.signals import remember_ctrl_c
from shards_tools.command import Parser, add_json_option, print_json, run

PROGRAM = "platform.search"
USAGE = "%(prog)s --space NAME|FILE.py [--data SHARDS] [option ...]"
EXAMPLE = """example:
  python -m platform.search --space transreid --trials 20
  python -m platform.search --space transreid --data shards/lsasrd --trials 60 --dry-run
  python -m platform.search --space transreid --data shards/lsasrd --trials 60 --hours 12

Run the same command again to resume. If the study is finished, it prints the results.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Search, or resume a search."""
    config, as_json = parse(arguments)
    # Here, because they import torch, Ray and MLflow, which takes seconds.
    from platform.environment import typed_command
    from platform.runner import run_search

    start = run_search(config, typed_command(PROGRAM))
    if as_json:
        print_json(start.summary)
    start.raise_if_stopped()


def parse(arguments: Sequence[str] | None = None) -> tuple[SearchConfig, bool]:
    """Return the configuration that the command line asks for, and whether to print JSON."""
    options = vars(parser().parse_args(arguments))
    as_json = options.pop("json")
    return SearchConfig(**options), as_json


def parser() -> Parser:
    """Return the command line's parser: one option for each field of `SearchConfig`, and --json."""
    arguments = Parser(prog=f"python -m {PROGRAM}", usage=USAGE, description=__doc__, epilog=EXAMPLE)
    add_options(arguments, SearchConfig)
    add_json_option(arguments)
    return arguments


if __name__ == "__main__":
    remember_ctrl_c()
    run(main)
