"""List the studies of a database, or write the report of one."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import RDBStorage

from platform.addresses import checked_tracking
from platform.databases import sqlite_file
from platform.read_only_study import (
    DAMAGED,
    StoredStudy,
    damaged,
    folder_of_study,
    open_read_only,
    read_study,
    searches,
)
from platform.record_checks import check_study
from platform.reporting.content import cell, spoken
from platform.run_paths import use_runs
from platform.stores import TRACKING_NAME, default_storage, default_tracking
from platform.study_outline import Outline, read_outline
from platform.tracking.local_store import refuse_foreign
from shards_tools.command import data_printer, print_json, say
from shards_tools.errors import Error
from shards_tools.folders import build_new, refuse_existing
from shards_tools.plugins import load_plugins

if TYPE_CHECKING:
    from platform.reporting.content import Content


def run_report(options: argparse.Namespace) -> None:
    """Run the parsed command line of `platform.report`.

    Raises:
        Error: the study does not exist, or its report cannot be written.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    load_plugins(options.import_, accept_changed_code=options.accept_changed_code)
    url = options.storage or default_storage(options.runs.absolute())
    if not options.list:
        refuse_existing(options.out)
    storage = open_read_only(url)
    if options.list:
        shown: dict[str, Any] = {"studies": list_studies(storage, url, data_printer(options.json))}
    else:
        tracking = _given_store(options.tracking) if options.tracking else _local_store(options.runs)
        use_runs(folder_of_study(options.runs, url, options.study))
        shown = _make_report(read_study(storage, url, options.study), options.data, options.out, tracking)
    if options.json:
        print_json(shown)


def _make_report(stored: StoredStudy, data: str | None, out: Path, tracking: str | None) -> dict[str, Any]:
    """Write the report to `out`, log it to MLflow, and return the JSON of the command.

    The folder gets its name last, so that the same command completes a report whose upload was killed.
    """
    # Imported here, because they import torch and matplotlib, which takes seconds.
    from platform.reporting.gather import gather
    from platform.reporting.headline import main_numbers
    from platform.reporting.page import write_report
    from platform.reporting.subject import subject_of
    from platform.reporting.upload import upload

    shown: dict[str, Any] = {}

    def fill(folder: Path) -> None:
        subject = subject_of(stored, data)
        content = gather(subject)
        write_report(folder, content, stored)
        say(content.summary)
        sent = upload(tracking, stored.name, folder) if tracking else None
        shown.update({**_paths(folder, out, content), **main_numbers(subject), "mlflow_run_id": sent})

    build_new(out, fill)
    say(f"Wrote the report to {out / 'index.html'}")
    return shown


def list_studies(storage: RDBStorage, url: str, write: Callable[[str], None]) -> list[dict[str, Any]]:
    """Write a line for every search in the database and return them for `--json`; one that is damaged is left out.

    Raises:
        Error: the database cannot be read.
    """
    lines = []
    for study in searches(storage, url):
        try:
            check_study(study)
            lines.append(study_line(StoredStudy(study=study), read_outline(storage, study), write))
        except DAMAGED as failure:
            say(f"Left out: {damaged(study.study_name, failure)}")
    return lines


def study_line(stored: StoredStudy, outline: Outline, write: Callable[[str], None]) -> dict[str, Any]:
    """Write the line of a study in the list and return it for `--json`."""
    name, value, trials = stored.objective, outline.best, outline.trials
    states = ", ".join(f"{number} {state}" for state, number in trials.items() if number) or "no trials"
    found = f"best {spoken(name)} {cell(name, value)} %" if value is not None else "none complete"
    search = stored.search
    write(f"{stored.name:<32} {search['space']}, {search['scale']}; {states}; {found}")
    kept = {key: search[key] for key in ("space", "scale")}
    return {"study": stored.name, **kept, "objective": name, "best": value, "trials": dict(trials)}


def _paths(folder: Path, out: Path, content: Content) -> dict[str, Any]:
    """Return the paths that the files of a folder will have in `out`, and the names of its figures, for `--json`."""
    explore = "explore.html"
    return {
        "study": content.study,
        "page": str(out / "index.html"),
        "report": str(out / "report.md"),
        "trials_csv": str(out / "trials.csv"),
        "explore": str(out / explore) if (folder / explore).exists() else None,
        "figures": [figure.name for figure in content.figures],
        "missing": list(content.missing),
    }


def _given_store(uri: str) -> str:
    """Return the address of --tracking, if MLflow can have such a store.

    Raises:
        Error: it has none of this kind, or the file does not exist or is another program's.
    """
    file = None if checked_tracking(uri).startswith("http") else sqlite_file(uri)
    if file and not file.is_file():
        raise Error(f"--tracking {uri}: {file} does not exist. Give the MLflow store of the search.")
    refuse_foreign(uri)
    return uri


def _local_store(runs: Path) -> str | None:
    runs = runs.absolute()
    return default_tracking(runs) if (runs / TRACKING_NAME).is_file() else None
