"""Report what a study has found: a page, text, figures and a table of its trials. Nothing in the study changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna

from platform.report.answer import count, main_numbers
from platform.report.content import Content, cell, spoken
from platform.report.gather import gather
from platform.report.page import write_report
from platform.report.subject import subject_of
from platform.report.upload import upload
from platform.stored_study import StoredStudy, open_read_only, read_study, searches
from shards_tools.command import Parser, print_json, run, say
from shards_tools.folders import build_new
from shards_tools.plugins import add_code_options, load_plugins

EXAMPLE = """examples:
  python -m platform.report --list
  python -m platform.report STUDY --out report
  python -m platform.report STUDY --out report --data shards/lsasrd
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """List the studies, or write the report of one."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.list == (options.study is not None):
        parser.error("name a study, or give --list")
    if options.study is not None and options.out is None:
        parser.error(f"--out DIR says where the report of {options.study} is to be written")
    load_plugins(options.import_, accept_changed_code=options.accept_changed_code)
    url = options.storage or f"sqlite:///{options.runs.absolute() / 'optuna.db'}"
    storage = open_read_only(url)
    if options.list:
        shown: dict[str, Any] = {"studies": [_line(StoredStudy(study=study)) for study in searches(storage, url)]}
    else:
        stored = read_study(storage, url, options.study)
        subject = subject_of(stored, options.data)
        content = gather(subject)
        build_new(options.out, lambda folder: write_report(folder, content, stored))
        say(content.answer)
        say(f"The report: {options.out / 'index.html'}")
        tracking = options.tracking or _local_store(options.runs)
        sent = upload(tracking, stored.name, options.out) if tracking else None
        shown = {**_written(options.out, content), **main_numbers(subject), "mlflow_run_id": sent}
    if options.json:
        print_json(shown)


def _parser() -> Parser:
    parser = Parser(prog="python -m platform.report", description=__doc__, epilog=EXAMPLE)
    add = parser.add_argument
    add("study", nargs="?", metavar="STUDY", help="its name, as --list shows it")
    add("--list", action="store_true", help="one study per line")
    add("--out", type=Path, metavar="DIR", help="a folder that is not there yet")
    add(
        "--runs", type=Path, default=Path("runs"), metavar="DIR", help="where the search kept everything; default: runs"
    )
    add("--storage", metavar="URL", help="Optuna's database; default: DIR/optuna.db of --runs")
    add("--data", metavar="SHARDS", help="the data of the study; default: where it remembers them")
    add("--tracking", metavar="URI", help="MLflow's store, for the report too; default: DIR/mlflow.db of --runs if any")
    add_code_options(parser)
    add("--json", action="store_true", help="print one JSON object as the last line of standard output")
    return parser


def _line(stored: StoredStudy) -> dict[str, Any]:
    """A study of the list, which is said, too."""
    name, best, trials = stored.objective, stored.best, count(stored)
    value = best.values[0] if best else None
    states = ", ".join(f"{number} {state}" for state, number in trials.items() if number) or "no trials"
    found = f"best {spoken(name)} {cell(name, value)} %" if best else "none complete"
    search = stored.search
    say(f"{stored.name:<32} {search['space']}, {search['scale']}; {states}; {found}")
    kept = {key: search[key] for key in ("space", "scale")}
    return {"study": stored.name, **kept, "objective": name, "best": value, "trials": trials}


def _written(out: Path, content: Content) -> dict[str, Any]:
    """Where everything is."""
    explore = out / "explore.html"
    return {
        "study": content.study,
        "page": str(out / "index.html"),
        "report": str(out / "report.md"),
        "trials_csv": str(out / "trials.csv"),
        "explore": str(explore) if explore.exists() else None,
        "figures": [figure.name for figure in content.figures],
        "missing": list(content.missing),
    }


def _local_store(runs: Path) -> str | None:
    file = runs.absolute() / "mlflow.db"
    return f"sqlite:///{file}" if file.is_file() else None


if __name__ == "__main__":
    run(main)
