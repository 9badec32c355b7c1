"""Runs one start of a reproduction: run the missing trainings, then print and write the table."""

from __future__ import annotations

import time
from functools import partial

from platform.execution import cluster_when_needed
from platform.failures import refuse_full_disk
from platform.fixed_trials import FixedTrials, count, newest
from platform.lock import only_driver
from platform.paper_tables.display import print_header, print_table
from platform.paper_tables.enqueue import enqueue_missing
from platform.paper_tables.measured import measured
from platform.paper_tables.options import TablePlan
from platform.paper_tables.results import results_of
from platform.paper_tables.summary import study_event, summary
from platform.paper_tables.written import make_folder, write_table
from platform.start import recorded_start, run_start, tracked
from platform.study import open_storage, open_study
from platform.terminal.live import screen_of_part
from platform.tracking.events import rebuild
from platform.tracking.journal import Journal
from shards_tools.command import print_json


def reproduce(table_plan: TablePlan, started: float, *, as_json: bool) -> None:
    """Run the missing trainings, then print and write the table.

    Args:
        table_plan: the plan of the table.
        started: when the command started, by the monotonic clock.
        as_json: whether to print the JSON of the command as well.

    Raises:
        Error: a store failed, or too many trainings in a row failed.
        KeyboardInterrupt: the command was interrupted.
    """
    search = table_plan.search
    stores, setup, method = search.stores, search.setup, search.method
    make_folder(table_plan.out)
    storage = open_storage(stores.storage)
    with (
        refuse_full_disk(stores.runs),
        only_driver(stores, storage),
        Journal(stores.folder / "journal.jsonl") as journal,
    ):
        study = open_study(search, storage)
        enqueue_missing(study, table_plan)
        rebuild(study, setup, method, journal)
        with tracked(search, journal) as tracker:
            trials = FixedTrials(study, search, journal, screen_of_part(search, partial(count, study)))
            storage.interrupted = lambda: trials.interrupted
            print_header(table_plan, study)
            if not trials.done:
                with cluster_when_needed(search.resources.num_cpus) as start_ray:
                    run_start(trials, tracker, recorded_start(study, search, start_ray))
            known = newest(study)
            metrics = measured(study, table_plan, known, journal, interrupted=trials.interrupted)
            results = results_of(table_plan, known, metrics)
            journal.append("study", **study_event(table_plan, study, results), time=time.time())
        files = write_table(table_plan, results)
    print_table(table_plan, results, known, files)
    if as_json:
        print_json(summary(table_plan, study, results, files, tracker, time.monotonic() - started))
    if trials.interrupted:
        raise KeyboardInterrupt
    trials.failed.raise_if_too_many()
