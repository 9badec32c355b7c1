"""The output of a reproduction: the header of a start, and the finished table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.table import Table

from platform.fixed_trials import Training
from platform.paper_tables.options import TablePlan
from platform.paper_tables.results import Result, is_failed
from platform.paper_tables.written import HEADINGS, cells_of, notes_on, title_of
from platform.terminal.lines import say_smaller_batches
from platform.trial_record import TrialRecord
from shards_tools.command import say

WIDTH = 100  # columns if the output is not a terminal


def print_header(table_plan: TablePlan, study: optuna.Study) -> None:
    """Print the study, the data and the number of trainings left."""
    search, setup, table = table_plan.search, table_plan.search.setup, table_plan.table
    manifest = setup.manifest
    num = len(table_plan.rows), search.protocol.folds, table_plan.seeds
    say(f"Study {search.stores.study}: {table.title} at {setup.scale} scale. {table.paper}.")
    say(f"Data {setup.data}: {manifest.num_images} images, {len(manifest.works)} works or classes.")
    say_smaller_batches(setup.num_train_works, [table.recipe(row, setup.scale) for row in table_plan.rows])
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    running, left = states.count(TrialState.RUNNING), states.count(TrialState.WAITING)
    resumed = f" {running} resume from their last checkpoint." if running else ""
    say(
        f"Trainings: {len(table_plan.trainings)} (rows: {num[0]}, folds: {num[1]}, seeds: {num[2]}); {left + running}"
        f" left, {search.resources.concurrency} at a time.{resumed}"
    )


def print_table(
    table_plan: TablePlan, results: Sequence[Result], known: Mapping[Training, FrozenTrial], files: Sequence[Path]
) -> None:
    """Print the table, its notes, the failed and the remaining trainings, and the files.

    Args:
        table_plan: the plan of the table.
        results: the results of its rows.
        known: the last trial of each training that has started.
        files: the files that were written.
    """
    shown = Table(title=title_of(table_plan), title_justify="left")
    for heading in HEADINGS:
        shown.add_column(heading, justify="left" if heading in ("row", "metric") else "right", no_wrap=True)
    above = None
    for result in results:
        if above not in (None, result.row):
            shown.add_section()
        cells = cells_of(result)
        shown.add_row("" if result.row == above else cells[0], *cells[1:])
        above = result.row
    Console(stderr=True, width=None if Console(stderr=True).is_terminal else WIDTH).print(shown)
    for note in notes_on(table_plan):
        say(note)
    for line in _unfinished(table_plan, known):
        say(line)
    say(f"Written: {', '.join(map(str, files))}")
    say(f"Compare runs: python -m platform.ui --runs {table_plan.search.stores.runs}")


def _unfinished(table_plan: TablePlan, known: Mapping[Training, FrozenTrial]) -> list[str]:
    """Return a line for each failed training, and one with the number of remaining trainings."""
    trials = {training: known.get(training) for training in table_plan.trainings}
    failed = {training: trial for training, trial in trials.items() if trial and is_failed(trial)}
    lines = [
        f"Failed: {table_plan.label(training)}: {TrialRecord(trial).reason or 'no reason given'}"
        for training, trial in failed.items()
    ]
    if failed:
        lines.append(f"Failed trainings: {len(failed)}. Run the same command again to retry them.")
    left = sum(trial is None or not trial.state.is_finished() for trial in trials.values())
    if left:
        lines.append(f"Trainings left: {left}. Run the same command again to resume.")
    return lines
