"""Runs one start of a reproduction: train what is missing, print and write the table, and summarize."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import optuna

from platform.execution import cluster_when_needed
from platform.fixed_trials import FixedTrials, count, newest
from platform.paper_tables.display import print_header, print_table, unfinished
from platform.paper_tables.reproduction import Reproduction
from platform.paper_tables.results import results_of
from platform.paper_tables.trainings import enqueue_missing, measured
from platform.paper_tables.written import ReproducedTable, as_markdown, make_folder, reproduced_table, write_table
from platform.start import opened_study, recorded_start, run_start, tracked
from platform.stores import make_runs
from platform.summary import counts
from platform.terminal.live import screen_of_part
from platform.tracking.descriptions import NOTE
from platform.tracking.events import rebuild
from platform.tracking.tracker import Tracker
from shards_tools.command import print_json
from shards_tools.redaction import redact


def reproduce(reproduction: Reproduction, started: float, *, as_json: bool) -> None:
    """Run the missing trainings, then print and write the table.

    Args:
        reproduction: the table with its trainings.
        started: when the command started, by the monotonic clock.
        as_json: whether to print the JSON of the command as well.

    Raises:
        Error: a store failed, or too many trainings in a row failed.
        KeyboardInterrupt: the command was interrupted.
    """
    search, wanted = reproduction.search, reproduction.trainings
    make_runs(search.stores.runs)
    make_folder(reproduction.out)
    with opened_study(search) as (study, storage, journal):
        enqueue_missing(study, wanted, reproduction.recipes)
        rebuild(study, search.setup, search.method, journal)
        with tracked(search, journal) as tracker:
            trials = FixedTrials(study, search, journal, screen_of_part(search, partial(count, study)))
            storage.interrupted = lambda: trials.interrupted
            print_header(reproduction, study)
            if not trials.done:
                with cluster_when_needed(search.resources.num_cpus) as start_ray:
                    run_start(trials, tracker, recorded_start(study, search, start_ray))
            known = newest(study)
            metrics = measured(
                study,
                wanted,
                journal,
                split=reproduction.split,
                manifest=search.setup.manifest,
                interrupted=trials.interrupted,
            )
            results = results_of(
                reproduction.table,
                reproduction.recipes,
                wanted,
                known=known,
                measured=metrics,
                chance=search.goal.chance,
            )
            table = reproduced_table(reproduction, results)
            journal.append("study", **study_event(study, table, search.goal.chance), time=time.time())
        files = write_table(table, reproduction.out)
    print_table(table, unfinished(wanted, known), files, search.stores.runs)
    if as_json:
        print_json(summary(reproduction, table, study, files, tracker, time.monotonic() - started))
    if trials.interrupted:
        raise KeyboardInterrupt
    trials.failed.raise_if_too_many()


def study_event(study: optuna.Study, table: ReproducedTable, chance: Mapping[str, float]) -> dict[str, Any]:
    """Return the event for the study's run in MLflow: the table as its description, and the means as metrics."""
    means = {f"mean_{one.metric}_{one.recipe}": one.mean / 100 for one in table.results if not math.isnan(one.mean)}
    return {
        "trial": None,
        "checkpoint": None,
        "tags": {**counts(study), "table": table.of.title, NOTE: as_markdown(table)},
        "metrics": {**{f"chance_{name}": chance[name] for name in table.of.metrics}, **means},
        "models": [],
    }


def summary(
    reproduction: Reproduction,
    table: ReproducedTable,
    study: optuna.Study,
    files: Sequence[Path],
    tracker: Tracker,
    seconds: float,
) -> dict[str, Any]:
    """Return the JSON of the command; the rows' metrics are in percent."""
    setup, stores = reproduction.search.setup, reproduction.search.stores
    return {
        "study": stores.study,
        "table": table.of.name,
        "paper": table.of.paper,
        "scale": setup.scale,
        "data": setup.data,
        "split": reproduction.split,
        "folds": reproduction.search.protocol.folds,
        "seeds": reproduction.seeds,
        "epochs": setup.epochs,
        "rows": [result.as_json() for result in table.results],
        "trials": counts(study),
        "files": [str(file) for file in files],
        "tracking_uri": redact(stores.tracking),
        "tracking": tracker.status,
        "storage": redact(stores.storage),
        "seconds": round(seconds, 1),
    }
