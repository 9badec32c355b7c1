"""Report what a study has found: a page, text, figures and a table of its trials. Nothing in the study changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shards_tools.command import Parser, run
from shards_tools.plugins import add_code_options

EXAMPLE = """examples:
  python -m platform.report --list
  python -m platform.report STUDY --out report
  python -m platform.report STUDY --out report --data shards/lsasrd
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """List the studies, or write the report of one."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.list == (options.study is not None):
        parser.error("name a study, or give --list")
    if options.study is not None and options.out is None:
        parser.error(f"--out DIR says where the report of {options.study} is to be written")
    from platform.report.runner import run_report  # imports Optuna, and for a report torch, which takes seconds

    run_report(options)


def _parser() -> Parser:
    parser = Parser(prog="python -m platform.report", description=__doc__, epilog=EXAMPLE)
    add = parser.add_argument
    add("study", nargs="?", metavar="STUDY", help="the name of a study, as --list prints it")
    add("--list", action="store_true", help="one study per line")
    add("--out", type=Path, metavar="DIR", help="a new folder for the report")
    add("--runs", type=Path, default=Path("runs"), metavar="DIR", help="the --runs folder of the search; default: runs")
    add("--storage", metavar="URL", help="Optuna's database; default: DIR/optuna.db of --runs")
    add("--data", metavar="SHARDS", help="the data of the study; default: the address that the study recorded")
    add(
        "--tracking",
        metavar="URI",
        help="MLflow's store, which gets the report too; default: DIR/mlflow.db of --runs, if it exists",
    )
    add_code_options(parser)
    add("--json", action="store_true", help="print one JSON object as the last line of standard output")
    return parser


if __name__ == "__main__":
    run(main)
