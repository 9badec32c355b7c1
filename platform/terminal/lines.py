"""The output of a search on standard error: one line per report with the best so far, and a table at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.table import Table

from platform.objectives import COSTS, Goal, last_epoch, written
from platform.resolved_search import ResolvedSearch
from platform.study import best_trial, chosen_trial, front
from platform.terminal.console import table_console
from platform.terminal.leader import Leader
from platform.trial_record import TrialRecord
from shards_tools.command import say
from trainables.evaluation.metric_names import COLUMNS
from trainables.recipes.recipe import Recipe

LABEL_WIDTH = 26  # characters; most trials' labels fit
PART_LABEL_WIDTH = 34  # for labels with a fold or a seed


class Screen(Protocol):
    """Shows the progress of trials; it is a context manager, and is used inside its context."""

    def __enter__(self) -> Screen: ...

    def __exit__(self, *_: object) -> None: ...

    def start(self, trial: optuna.Trial, attempt: int, step: int, last_step: int) -> None:
        """Show the start of an attempt.

        Args:
            attempt: the number of the trial's attempt, from 1.
            step: the epoch that it resumes after; 0: it starts with the first epoch.
            last_step: the last epoch of the training.
        """

    def report(self, trial: optuna.Trial, step: int, last_step: int, values: Mapping[str, float], stops: bool) -> None:
        """Show one epoch of a trial.

        Args:
            step: the epoch that ended, from 1.
            last_step: the last epoch of the training.
            values: metrics as fractions, costs, and losses, by name; all objectives are among them.
            stops: whether the pruner ends the trial after this epoch.
        """

    def died(self, trial: optuna.Trial, count: int) -> None:
        """Show that an attempt's process died."""

    def end(self, trial: optuna.Trial, state: TrialState, reason: str) -> None:
        """Show the end of a trial."""


class Lines:
    """Prints a line for each epoch, each process that died, and each end that no report shows."""

    def __init__(self, objectives: Sequence[str], width: int = LABEL_WIDTH) -> None:
        """Create the lines of trials with these objectives; labels are padded to `width` characters."""
        self._objectives, self._width = objectives, width

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def start(self, trial: optuna.Trial, attempt: int, step: int, last_step: int) -> None:
        """Print nothing: the first epoch will have a line."""

    def report(self, trial: optuna.Trial, step: int, last_step: int, values: Mapping[str, float], stops: bool) -> None:
        """Print a line for one epoch of a trial."""
        first, *others = self._objectives
        score = "" if first == "loss" else f"{first} {100 * values[first]:5.2f} %  "
        more = "".join(f"{name} {written(name, values[name])}  " for name in others)
        say(
            f"{self._head(trial)} epoch {step:>3}/{last_step}  {score}{more}"
            f"loss {values['loss']:.3f}  {values['images_per_second']:.0f} images/s"
            f"{self._standing(trial, values[first], stops)}{'  pruned' if stops else ''}"
        )

    def died(self, trial: optuna.Trial, count: int) -> None:
        """Print a line for an attempt whose process died."""
        say(f"{self._head(trial)} its process died; attempt {count + 1} resumes from the last checkpoint")

    def end(self, trial: optuna.Trial, state: TrialState, reason: str) -> None:
        """Print a line for a trial that failed, or that was pruned for another reason than its values."""
        if state == TrialState.FAIL or (state == TrialState.PRUNED and TrialRecord(trial).pruned_at is None):
            say(f"{self._head(trial)} {'failed' if state == TrialState.FAIL else 'ended'}: {reason}")

    def _head(self, trial: optuna.Trial) -> str:
        return f"{label(trial):<{self._width}}"

    def _standing(self, trial: optuna.Trial, value: float, stops: bool) -> str:
        """Return how the value of `trial` compares with others; empty if they do not compete."""
        return ""


class Display(Lines):
    """Prints the progress of one study, and the best value so far."""

    def __init__(self, study: optuna.Study, goal: Goal) -> None:
        super().__init__(goal.objectives)
        self._has_limits = bool(goal.at_most)
        self._leader: Leader[optuna.Trial | FrozenTrial] = Leader()
        if best := best_trial(study):
            self._leader.report(best, best.values[0])
            self._leader.end(best, is_complete=True)

    def end(self, trial: optuna.Trial, state: TrialState, reason: str) -> None:
        """Print a line as `Lines` does; a trial that is not complete cannot be the best any more."""
        self._leader.end(trial, is_complete=state == TrialState.COMPLETE)
        super().end(trial, state, reason)

    def _standing(self, trial: optuna.Trial, value: float, stops: bool) -> str:
        """Return the best value so far, which may be this one."""
        if stops or TrialRecord(trial).over_limit:
            self._leader.end(trial, is_complete=False)
        else:
            self._leader.report(trial, value)
        if best := self._leader.best:
            return f"  best {100 * best[0]:.2f} % (trial {best[1].number})"
        return "  none within limits yet" if self._has_limits else ""


def label(trial: optuna.Trial | FrozenTrial) -> str:
    """Return the name of a trial in messages; a training has a stored label with its fold or seed."""
    record = TrialRecord(trial)
    if record.label:
        return record.label
    origin = record.baseline or record.warm_start
    return f"trial {trial.number} ({origin})" if origin else f"trial {trial.number}"


def print_header(search: ResolvedSearch, num_finished: int, num_running: int) -> None:
    """Print the study, its objectives and limits, the data and the number of trials left."""
    setup, goal, resources = search.setup, search.goal, search.resources
    manifest = setup.manifest
    limits = [f"{name} {written(name, most)}" for name, most in goal.at_most.items()]
    say(
        f"Study {search.stores.study}: space {setup.space.name} at {setup.scale} scale, {setup.longest_epochs} epochs, "
        f"{' against '.join(goal.objectives)} on the validation split."
    )
    if len(goal.objectives) > 1:
        say("With several objectives no trial is pruned for its values.")
    if limits:
        say(
            f"At most {', '.join(limits)}: trials over a limit end early. Baselines over a limit run to their end, but"
            " are never the best."
        )
    say(
        f"Data {setup.data}: {manifest.num_images} images, {len(manifest.works)} works, {len(manifest.roles)} roles; "
        f"chance {100 * goal.chance[goal.objective]:.2f} %."
    )
    baselines = [setup.recipe(optuna.trial.FixedTrial(row)) for row in setup.space.baselines.values()]
    say_smaller_batches(setup.train_size, baselines)
    state = f"{num_finished} of {search.budget.trials} trials are done"
    if num_running:
        state += f", {num_running} left running by an earlier start resume"
    why = f" ({resources.why_concurrency})" if resources.why_concurrency else ""
    ranks = f", {resources.ranks_per_trial} ranks each" if resources.ranks_per_trial > 1 else ""
    say(f"{state}; {resources.concurrency} at a time{ranks}{why}.")


def say_smaller_batches(train_size: tuple[int, int], recipes: Sequence[Recipe]) -> None:
    """Print how batches of these recipes change because of the size of the training split.

    Args:
        train_size: works and images of the training split.
    """
    for sentence in dict.fromkeys(recipe.smaller_batch(*train_size) for recipe in recipes):
        if sentence:
            say(sentence)


def print_summary(
    study: optuna.Study, goal: Goal, more: Sequence[tuple[Table, Sequence[str]]], footer: Sequence[str]
) -> None:
    """Print the table of the study: the best trial, or the Pareto front, then the baselines and chance.

    Args:
        study: the search.
        goal: its objectives and limits.
        more: further tables, each with the lines under it.
        footer: the lines at the end.
    """
    table = Table(title=f"Study {study.study_name}", title_justify="left")
    keys = [key for key in COLUMNS if key in goal.chance]
    keys += [name for name in (*goal.objectives, *goal.at_most) if name not in keys]
    for column in ("", "trial", *(COLUMNS.get(key, key) for key in keys), "epochs"):
        table.add_column(column, justify="left" if column == "" else "right")
    if len(goal.objectives) > 1:
        for trial in front(study):
            table.add_row(*_row("front", trial, keys), style="bold")
    elif best := chosen_trial(study):
        table.add_row(*_row("best found", best, keys), style="bold")
    baselines = [trial for trial in study.get_trials(deepcopy=False) if TrialRecord(trial).baseline]
    for trial in sorted(baselines, key=lambda trial: (TrialRecord(trial).is_paper_row, trial.number)):
        if last_epoch(trial):
            over = " (over)" if TrialRecord(trial).over_limit else ""
            table.add_row(*_row(f"{TrialRecord(trial).baseline}{over}", trial, keys))
    table.add_row("chance", "", *(cell(key, goal.chance[key]) if key in goal.chance else "" for key in keys), "")
    console = table_console()
    console.print(table)
    for further, lines in more:
        console.print(further)
        for line in lines:
            say(line)
    for line in footer:
        say(line)


def _row(name: str, trial: FrozenTrial, keys: Sequence[str]) -> list[str]:
    metrics = TrialRecord(trial).metrics
    return [name, str(trial.number), *(cell(key, metrics[key]) for key in keys), str(last_epoch(trial))]


def cell(key: str, value: float) -> str:
    """Return a value for a table cell: a metric in percent without the sign, a cost with its unit."""
    return written(key, value) if key in COSTS else f"{100 * value:.2f}"
