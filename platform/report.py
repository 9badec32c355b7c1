"""Report the results of a study: a web page, text, figures and a table of its trials. The study is only read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shards_tools.command import Parser, add_json_option, run
from shards_tools.plugins import add_code_options

EXAMPLE = """examples:
  python -m platform.report --list
  python -m platform.report STUDY --out report
  python -m platform.report STUDY --out report --data shards/lsasrd
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `python -m platform.report`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.list == (options.study is not None):
        parser.error("pass either STUDY or --list")
    if options.study is not None and options.out is None:
        parser.error(f"--out is missing. Pass a new folder for the report of {options.study}")
    from platform.reporting.runner import run_report  # imports Optuna, and for a report torch, which takes seconds

    run_report(options)


def _parser() -> Parser:
    parser = Parser(prog="python -m platform.report", description=__doc__, epilog=EXAMPLE)
    add = parser.add_argument
    add("study", nargs="?", metavar="STUDY", help="the name of a study, as --list prints it")
    add("--list", action="store_true", help="list the studies, one per line")
    add("--out", type=Path, metavar="DIR", help="a new folder for the report")
    add("--runs", type=Path, default=Path("runs"), metavar="DIR", help="the --runs folder of the search; default: runs")
    add("--storage", metavar="URL", help="Optuna's database; default: optuna.db under --runs")
    add("--data", metavar="SHARDS", help="the shards of the study; default: the address that the study recorded")
    add(
        "--tracking",
        metavar="URI",
        help="the MLflow store to log the report to; default: mlflow.db under --runs, if it exists",
    )
    add_code_options(parser)
    add_json_option(parser)
    return parser


if __name__ == "__main__":
    run(main)
