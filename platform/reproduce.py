"""Reproduce a table of a paper: train its rows and put mean and deviation next to the printed numbers."""

from __future__ import annotations

if __name__ == "__main__":  # before imports that take seconds
    from platform.signals import leave_at_ctrl_c

    leave_at_ctrl_c()

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from platform.config import checked_study_name
from platform.paper_tables.table import PROGRAM, TABLES, PaperTable, get_table
from platform.signals import remember_ctrl_c
from shards_tools.command import (
    Parser,
    add_json_option,
    positive_float,
    positive_int,
    print_data,
    print_json,
    run,
    show_log,
)
from shards_tools.plugins import add_code_options, load_plugins
from trainables.evaluation.metric_names import COLUMNS

USAGE = "%(prog)s TABLE --data SHARDS [option ...]"
EXAMPLE = """examples:
  python -m platform.reproduce --list
  python -m platform.reproduce lsasrd-5 --list
  python -m platform.reproduce lsasrd-5 --data shards/lsasrd --folds 5 --dry-run
  python -m platform.reproduce lsasrd-5 --data shards/lsasrd --rows ViT-Base ViT-Stride --folds 5 --seeds 3

Run the same command again to resume. If every training is done, it prints the table.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """List the tables, or reproduce one."""
    started = time.monotonic()
    arguments_parser = parser()
    options = arguments_parser.parse_args(arguments)
    if options.list:
        show_list(options)
        return
    if options.table is None:
        arguments_parser.error("name a table, or give --list")
    get_table(options.table)
    if options.data is None:
        arguments_parser.error("--data SHARDS is missing")
    # Here, because they import torch, Ray and MLflow, which takes seconds.
    import optuna

    from platform.paper_tables.dry_run import dry_run
    from platform.paper_tables.reproduction import resolve_reproduction
    from platform.paper_tables.runner import reproduce
    from platform.resources import this_machine

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    show_log("shards_tools")
    plugins = load_plugins(options.import_, accept_changed_code=options.accept_changed_code)
    machine = this_machine()
    reproduction = resolve_reproduction(options, machine, plugins)
    if options.dry_run:
        projected = dry_run(reproduction, machine)
        if options.json:
            print_json(projected)
        return
    reproduce(reproduction, started, as_json=options.json)


def show_list(options: argparse.Namespace) -> None:
    """Print the tables, or the rows of one, to standard output; with --json, print only a JSON object."""
    tables = [get_table(options.table)] if options.table else list(TABLES.values())
    if options.json:
        print_json({"tables": [table.as_json() for table in tables]})
    elif options.table:
        _print_rows(tables[0])
    else:
        for table in tables:
            rows = f"{len(table.recipes)} row{'s' * (len(table.recipes) != 1)}"
            print_data(f"{table.name:<14}{rows:<9}{', '.join(map(_heading, table.metrics)):<18}{table.paper}")


def _print_rows(table: PaperTable) -> None:
    """Print one line per row of a table: its name, its recipe and the printed numbers."""
    for row, recipe in table.recipes.items():
        numbers = [f"{_heading(name)} {value:.2f}" for name, value in table.printed[row].items()]
        print_data(f"{row:<26}{recipe.name:<30}{'  '.join(numbers)}")


def _heading(metric: str) -> str:
    return COLUMNS[metric].removesuffix(" %")


def parser() -> Parser:
    """Return the command line's parser."""
    arguments = Parser(prog=f"python -m {PROGRAM}", usage=USAGE, description=__doc__, epilog=EXAMPLE)
    add: Any = arguments.add_argument
    add("table", nargs="?", metavar="TABLE", help=f"one of {', '.join(TABLES)}")
    add("--list", action="store_true", help="list the tables with their papers; with TABLE, list its rows")
    add("--data", metavar="SHARDS", help="shards: a folder, https://, s3:// or gs://")
    add("--rows", nargs="+", default=[], metavar="NAME", help="rows of the table, or their recipes; default: all")
    add("--folds", type=positive_int, default=1, metavar="K", help="train on folds 0 to K-1; default: 1")
    add("--seeds", type=positive_int, default=1, metavar="N", help="train each row with seeds 0 to N-1; default: 1")
    add("--epochs", type=positive_int, metavar="N", help="epochs of each training; default: the recipe's")
    add("--scale", choices=("auto", "paper", "tiny"), default="auto", help="auto: paper if there is a GPU, else tiny")
    add("--study", type=checked_study_name, metavar="NAME", help="default: table, data fingerprint and scale")
    add("--runs", type=Path, default=Path("runs"), metavar="DIR", help="folder for all results; default: runs")
    add("--out", type=Path, metavar="DIR", help="folder for the table; default: the study's folder in --runs")
    add("--storage", metavar="URL", help="Optuna's database; default: optuna.db in --runs")
    add("--tracking", metavar="URI", help="MLflow's store; default: mlflow.db in --runs")
    add("--gpus-per-trial", type=positive_float, metavar="F", help="default: 1 if there is a GPU")
    add("--concurrency", type=positive_int, metavar="N", help="trainings at a time; default: by CPUs or GPUs")
    add_code_options(arguments)
    add("--dry-run", action="store_true", help="check everything, measure one step, print what it will take, and stop")
    add_json_option(arguments)
    return arguments


if __name__ == "__main__":
    remember_ctrl_c()
    run(main)
