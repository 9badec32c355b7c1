"""The state of the live display: the running trials, how others ended, and the best so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.text import Text

from platform.budgets import Budget
from platform.objectives import Goal, last_epoch, written
from platform.resources import TrialResources
from platform.terminal.leader import Leader
from platform.terminal.lines import LABEL_WIDTH, PART_LABEL_WIDTH, label
from platform.terminal.time_left import Pace, seconds_left
from platform.trial_record import TrialRecord
from shards_tools.plain_text import visible

STYLES = {TrialState.COMPLETE: "green", TrialState.PRUNED: "", TrialState.FAIL: "red"}


@dataclass(frozen=True)
class Named:
    """A copy of a trial's data for the thread that renders the display."""

    number: int
    label: str
    baseline: str  # the name of the baseline; empty: the sampler suggested the trial
    settings: Mapping[str, object]
    is_over_limit: bool
    is_papers: bool


@dataclass
class Row:
    """A running trial; times are in seconds of the monotonic clock."""

    trial: Named
    attempt: int
    epoch: int  # the last epoch reported
    epochs: int
    started: float  # when the attempt started
    heard: float  # when it last reported
    values: Mapping[str, float]  # of the last epoch; empty before the first
    first_epoch: int = field(init=False)  # the epoch that the attempt resumed after
    first_heard: float = field(init=False, default=0.0)  # when it first reported

    def __post_init__(self) -> None:
        self.first_epoch = self.epoch

    @property
    def num_done(self) -> int:
        """The number of epochs that this attempt has reported."""
        return self.epoch - self.first_epoch

    @property
    def epoch_s(self) -> float | None:
        """The seconds per epoch; after a single epoch, this includes the start of the process; None before it."""
        if self.num_done > 1:
            return (self.heard - self.first_heard) / (self.num_done - 1)
        return self.heard - self.started if self.num_done else None


class Board:
    """Collects the events of a study; methods return a line if the event belongs in the log above the display."""

    def __init__(
        self,
        goal: Goal,
        budget: Budget,
        resources: TrialResources,
        *,
        longest_epochs: int,
        prunes: bool,
        rivals: bool,
    ) -> None:
        """Create an empty board.

        Args:
            goal: the objectives and limits of the search.
            budget: its budget.
            resources: how many trials run at a time, and their GPUs.
            longest_epochs: epochs of the longest training.
            prunes: whether trials may be pruned.
            rivals: whether the trials compete for the best value; trainings on other folds or with other seeds do not.
        """
        self.goal, self.budget, self.resources, self.rivals = goal, budget, resources, rivals
        self._longest_epochs, self._prunes = longest_epochs, prunes
        self.label_width = LABEL_WIDTH if rivals else PART_LABEL_WIDTH
        self.rows: dict[int, Row] = {}
        self.finished, self.wanted, self.num_failed = 0, 0, 0
        self.leader: Leader[Named] = Leader()
        self.papers_leader: Leader[Named] = Leader()  # among the papers' rows only
        self.notice = ""
        self._lengths: list[int] = []  # epochs of the ended trials that a sampler suggested
        self._before = (0, 0.0)  # epochs of earlier starts, and their seconds
        self._seen = (0, 0.0)  # the same for attempts that ended in this start

    def remember(self, trial: FrozenTrial) -> None:
        """Add a trial that ended in an earlier start."""
        epoch = last_epoch(trial)
        if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED) or not epoch:
            return
        metrics = TrialRecord(trial).metrics
        named = named_trial(trial)
        self._before = (self._before[0] + epoch, self._before[1] + metrics["total_seconds"])
        self._keep_length(named, epoch)
        if trial.state == TrialState.COMPLETE:
            self._compare(named, metrics[self.goal.objective])
            self._end_comparison(named, is_complete=True)

    def count(self, finished: int, wanted: int) -> None:
        """Set how many trials are done, and how many there will be."""
        self.finished, self.wanted = finished, wanted

    def start(
        self, trial: Named, attempt: int, epochs: tuple[int, int], values: Mapping[str, float], now: float
    ) -> None:
        """Add an attempt that starts.

        Args:
            trial: its trial.
            attempt: the number of the attempt, from 1.
            epochs: the epoch that it resumes after, and its last one.
            values: the metrics of the epoch that it resumes after; empty if it starts with the first.
            now: the time by the monotonic clock.
        """
        self.rows[trial.number] = Row(trial, attempt, *epochs, started=now, heard=now, values=values)
        if values:
            self._compare(trial, values[self.goal.objective])

    def report(self, trial: Named, epoch: int, values: Mapping[str, float], now: float) -> None:
        """Store the metrics of an epoch.

        Args:
            trial: a trial with a running attempt.
            epoch: the epoch that ended, from 1.
            values: metrics as fractions, costs, and losses, by name; all objectives are among them.
            now: the time by the monotonic clock.
        """
        row = self.rows[trial.number]
        row.first_heard = row.first_heard if row.num_done else now
        row.epoch, row.values, row.heard = epoch, values, now
        self._compare(trial, values[self.goal.objective])

    def died(self, trial: Named, count: int) -> Text:
        """Remove an attempt whose process died; the next attempt resumes."""
        self._leave(trial)
        return self._line(trial, f"its process died; attempt {count + 1} resumes from the last checkpoint", "yellow")

    def end(self, trial: Named, state: TrialState, reason: str) -> Text:
        """Remove a trial that ended."""
        row = self._leave(trial)
        if state == TrialState.FAIL:
            self.num_failed += 1
        else:
            self.finished += 1
        self._end_comparison(trial, is_complete=state == TrialState.COMPLETE)
        if row and row.epoch and state != TrialState.FAIL:
            self._keep_length(trial, row.epoch)
        epochs = f"complete, {row.epoch} epochs" if row else "complete"
        what = {TrialState.COMPLETE: epochs, TrialState.FAIL: f"failed: {reason}"}.get(state, reason)
        name = self.goal.objective
        value = f"{name} {written(name, row.values[name]):>7}  " if row and row.epoch else ""
        line = self._line(trial, f"{value}{what}", STYLES[state])
        best = self.leader.best
        if state == TrialState.COMPLETE and self.rivals and best and best[1].number == trial.number:
            line.append("  the best so far", "bold")
        return line

    def note(self, notice: str) -> None:
        """Show a notice until the display closes."""
        self.notice = notice

    def left_running(self) -> list[Text]:
        """Return a line for each running trial, for when the display closes."""
        return [
            self._line(row.trial, f"left running after epoch {row.epoch}/{row.epochs}, for the next start")
            for row in self.rows.values()
        ]

    @property
    def fraction(self) -> float:
        """The fraction of the study that is done; a running trial counts with its fraction of epochs."""
        running = sum(row.epoch / row.epochs for row in self.rows.values())
        return min(1.0, (self.finished + running) / self.wanted) if self.wanted else 0.0

    def seconds_left(self, now: float) -> float | None:
        """Return the estimated seconds until the last trial ends; None while there is no estimate."""
        paces = [
            Pace(
                epoch=row.epoch,
                epochs=row.epochs,
                is_pruned=self._prunes and not row.trial.baseline,
                epoch_s=row.epoch_s,
                since_s=now - row.heard,
            )
            for row in self.rows.values()
        ]
        return seconds_left(
            paces,
            self._lengths,
            num_waiting=max(0, self.wanted - self.finished - len(self.rows)),
            at_a_time=self.resources.concurrency,
            epochs=self._longest_epochs,
            epoch_s=self._epoch_s(),
        )

    def seconds_left_of_gpus(self) -> float | None:
        """Return the seconds until --gpu-hours are used up at full concurrency; None without that limit."""
        if self.budget.gpu_hours is None:
            return None
        used_s = self._before[1] + self._of_this_start()[1]
        return (
            max(0.0, 3600 * self.budget.gpu_hours / self.resources.gpus_per_trial - used_s) / self.resources.concurrency
        )

    def _epoch_s(self) -> float | None:
        """Return the mean seconds per epoch in this start or, before its first epoch, in earlier starts."""
        epochs, seconds = self._of_this_start()
        if not epochs:
            epochs, seconds = self._before
        return seconds / epochs if epochs else None

    def _of_this_start(self) -> tuple[int, float]:
        """Return the number of epochs that were reported in this start, and their seconds."""
        epochs, seconds = self._seen
        for row in self.rows.values():
            if row.num_done:
                epochs, seconds = epochs + row.num_done, seconds + row.heard - row.started
        return epochs, seconds

    def _line(self, trial: Named, text: str, style: str = "") -> Text:
        return Text(f"{trial.label:<{self.label_width}} {text}", style)

    def _leave(self, trial: Named) -> Row | None:
        row = self.rows.pop(trial.number, None)
        if row and row.num_done:
            self._seen = (self._seen[0] + row.num_done, self._seen[1] + row.heard - row.started)
        return row

    def _keep_length(self, trial: Named, epochs: int) -> None:
        if not trial.baseline:
            self._lengths.append(epochs)

    def _compare(self, trial: Named, value: float) -> None:
        if trial.is_over_limit:
            self.leader.end(trial, is_complete=False)
        else:
            self.leader.report(trial, value)
        if trial.is_papers:
            self.papers_leader.report(trial, value)

    def _end_comparison(self, trial: Named, *, is_complete: bool) -> None:
        self.leader.end(trial, is_complete=is_complete)
        self.papers_leader.end(trial, is_complete=is_complete)


def named_trial(trial: optuna.Trial | FrozenTrial) -> Named:
    """Return a copy of the trial's data for a board."""
    record = TrialRecord(trial)
    return Named(
        number=trial.number,
        label=visible(label(trial)),
        baseline=visible(record.baseline),
        settings=trial.params,
        is_over_limit=bool(record.over_limit),
        is_papers=record.is_paper_row,
    )
