"""The output of a reproduction: the header of a start, and the finished table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.table import Table

from platform.fixed_trials import Training
from platform.paper_tables.reproduction import Reproduction
from platform.paper_tables.results import is_failed
from platform.paper_tables.written import HEADINGS, ReproducedTable, cells_of
from platform.terminal.console import table_console
from platform.terminal.lines import say_smaller_batches
from platform.trial_record import TrialRecord
from shards_tools.command import command_line, say

WIDTH = 100  # columns if the output is not a terminal


def print_header(reproduction: Reproduction, study: optuna.Study) -> None:
    """Print the study, the data and the number of trainings left."""
    search, table = reproduction.search, reproduction.table
    setup, manifest = search.setup, search.setup.manifest
    num = len(reproduction.rows), search.protocol.folds, reproduction.seeds
    say(f"Study {search.stores.study}: {table.title} at {setup.scale} scale. {table.paper}.")
    say(f"Data {setup.data}: {manifest.num_images} images, {len(manifest.works)} works or classes.")
    say_smaller_batches(setup.train_size, list(reproduction.recipes.values()))
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    running, left = states.count(TrialState.RUNNING), states.count(TrialState.WAITING)
    resumed = f" {running} resume from their last checkpoint." if running else ""
    say(
        f"Trainings: {len(reproduction.trainings)} (rows: {num[0]}, folds: {num[1]}, seeds: {num[2]}); {left + running}"
        f" left, {search.resources.concurrency} at a time.{resumed}"
    )


def print_table(table: ReproducedTable, unfinished: Sequence[str], files: Sequence[Path], runs: Path) -> None:
    """Print the table and its notes, the lines about unfinished trainings, the written files, and how to see more."""
    shown = Table(title=table.title, title_justify="left")
    for heading in HEADINGS:
        shown.add_column(heading, justify="left" if heading in ("row", "metric") else "right", no_wrap=True)
    above = None
    for result in table.results:
        if above not in (None, result.row):
            shown.add_section()
        cells = cells_of(result)
        shown.add_row("" if result.row == above else cells[0], *cells[1:])
        above = result.row
    table_console().print(shown)
    for line in (*table.notes, *unfinished):
        say(line)
    say(f"Written: {', '.join(map(str, files))}")
    say(f"Compare runs: {command_line('platform.ui', '--runs', runs)}")


def unfinished(trainings: Mapping[Training, str], known: Mapping[Training, FrozenTrial]) -> list[str]:
    """Return a line for each failed training, and one with the number of remaining trainings.

    Args:
        trainings: the requested trainings with their labels.
        known: the last trial of each training that has started.
    """
    trials = {training: known.get(training) for training in trainings}
    failed = {training: trial for training, trial in trials.items() if trial and is_failed(trial)}
    lines = [
        f"Failed: {trainings[training]}: {TrialRecord(trial).reason or 'no reason given'}"
        for training, trial in failed.items()
    ]
    if failed:
        lines.append(f"Failed trainings: {len(failed)}. Run the same command again to retry them.")
    left = sum(trial is None or not trial.state.is_finished() for trial in trials.values())
    if left:
        lines.append(f"Trainings left: {left}. Run the same command again to resume.")
    return lines
