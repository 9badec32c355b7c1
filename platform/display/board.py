"""What a live display knows of a study that runs: the trials that run, how others ended, and the best so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.text import Text

from platform.display.leader import Leader
from platform.display.lines import LABEL_WIDTH, PART_LABEL_WIDTH, label
from platform.display.time_left import Pace, seconds_left
from platform.objectives import last_epoch, written
from platform.plan import Plan
from platform.trial_record import TrialRecord

STYLES = {TrialState.COMPLETE: "green", TrialState.PRUNED: "", TrialState.FAIL: "red"}


@dataclass(frozen=True)
class Named:
    """A trial at the moment that something is told of it."""

    number: int
    label: str
    baseline: str  # the row set by hand that it is; empty: it was drawn
    settings: Mapping[str, object]
    is_over_limit: bool
    is_papers: bool


@dataclass
class Row:
    """A trial that runs."""

    trial: Named
    attempt: int
    epoch: int  # the last that was reported
    epochs: int
    started: float  # when the attempt was, by the monotonic clock
    heard: float  # when it last reported
    values: Mapping[str, float]  # of that epoch; empty before the first
    first_epoch: int = field(init=False)  # after which the attempt began
    first_heard: float = field(init=False, default=0.0)  # when its first report came

    def __post_init__(self) -> None:
        self.first_epoch = self.epoch

    @property
    def num_done(self) -> int:
        """Epochs of this attempt."""
        return self.epoch - self.first_epoch

    @property
    def epoch_s(self) -> float | None:
        """Seconds of one of its epochs; while there is only one, with the start of its process."""
        if self.num_done > 1:
            return (self.heard - self.first_heard) / (self.num_done - 1)
        return self.heard - self.started if self.num_done else None


class Board:
    """Is told what happens; what becomes a line of the log is given back."""

    def __init__(self, plan: Plan, *, rivals: bool) -> None:
        """Trials that are no `rivals` are of other folds or seeds: none of them is the best."""
        self.plan, self.rivals = plan, rivals
        self.label_width = LABEL_WIDTH if rivals else PART_LABEL_WIDTH
        self.rows: dict[int, Row] = {}
        self.finished, self.wanted, self.num_failed = 0, 0, 0
        self.leader: Leader[Named] = Leader()
        self.papers_leader: Leader[Named] = Leader()  # of the papers' rows alone
        self.notice = ""
        self._lengths: list[int] = []  # epochs of the trials that were drawn and have ended
        self._before = (0, 0.0)  # epochs of earlier starts, and the seconds that they took
        self._seen = (0, 0.0)  # the same of attempts that have ended in this one

    def remember(self, trial: FrozenTrial) -> None:
        """Take in a trial that has ended before."""
        epoch = last_epoch(trial)
        if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED) or not epoch:
            return
        metrics = TrialRecord(trial).metrics
        named = named_trial(trial)
        self._before = (self._before[0] + epoch, self._before[1] + metrics["total_seconds"])
        self._keep_length(named, epoch)
        if trial.state == TrialState.COMPLETE:
            self._compare(named, metrics[self.plan.objective])
            self._end_comparison(named, is_complete=True)

    def count(self, finished: int, wanted: int) -> None:
        """How many trials are done, of how many."""
        self.finished, self.wanted = finished, wanted

    def start(
        self, trial: Named, attempt: int, epochs: tuple[int, int], values: Mapping[str, float], now: float
    ) -> None:
        """An attempt begins.

        Args:
            epochs: the one after which it begins, and the last.
        """
        self.rows[trial.number] = Row(trial, attempt, *epochs, started=now, heard=now, values=values)
        if values:
            self._compare(trial, values[self.plan.objective])

    def report(self, trial: Named, epoch: int, values: Mapping[str, float], now: float) -> None:
        """An epoch of a trial."""
        row = self.rows[trial.number]
        row.first_heard = row.first_heard if row.num_done else now
        row.epoch, row.values, row.heard = epoch, values, now
        self._compare(trial, values[self.plan.objective])

    def died(self, trial: Named, count: int) -> Text:
        """An attempt whose process died; the next one goes on."""
        self._leave(trial)
        return self._line(trial, f"its process died; attempt {count + 1} goes on from the last checkpoint", "yellow")

    def end(self, trial: Named, state: TrialState, reason: str) -> Text:
        """A trial that ended."""
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
        name = self.plan.objective
        value = f"{name} {written(name, row.values[name]):>7}  " if row and row.epoch else ""
        line = self._line(trial, f"{value}{what}", STYLES[state])
        best = self.leader.best
        if state == TrialState.COMPLETE and self.rivals and best and best[1].number == trial.number:
            line.append("  the best so far", "bold")
        return line

    def note(self, notice: str) -> None:
        """Something to be said until the end."""
        self.notice = notice

    def left_running(self) -> list[Text]:
        """A line for each trial that runs, for when the display closes."""
        return [
            self._line(row.trial, f"left running after epoch {row.epoch}/{row.epochs}, for the next start")
            for row in self.rows.values()
        ]

    @property
    def fraction(self) -> float:
        """How much is done, from 0 to 1: each trial that runs counts by its epochs."""
        running = sum(row.epoch / row.epochs for row in self.rows.values())
        return min(1.0, (self.finished + running) / self.wanted) if self.wanted else 0.0

    def seconds_left(self, now: float) -> float | None:
        """Until the last trial has ended; None while that cannot be known."""
        paces = [
            Pace(
                epoch=row.epoch,
                epochs=row.epochs,
                is_pruned=self.plan.pruner != "none" and not row.trial.baseline,
                epoch_s=row.epoch_s,
                since_s=now - row.heard,
            )
            for row in self.rows.values()
        ]
        return seconds_left(
            paces,
            self._lengths,
            num_waiting=max(0, self.wanted - self.finished - len(self.rows)),
            at_a_time=self.plan.concurrency,
            epochs=self.plan.longest_epochs,
            epoch_s=self._epoch_s(),
        )

    def seconds_left_of_gpus(self) -> float | None:
        """Until trials that fill every place have spent the hours of GPUs of the plan; None where it sets none."""
        if self.plan.gpu_hours is None:
            return None
        spent_s = self._before[1] + self._of_this_start()[1]
        return max(0.0, 3600 * self.plan.gpu_hours / self.plan.gpus_per_trial - spent_s) / self.plan.concurrency

    def _epoch_s(self) -> float | None:
        """Seconds of an epoch in this start; as long as there is none, of earlier ones."""
        epochs, seconds = self._of_this_start()
        if not epochs:
            epochs, seconds = self._before
        return seconds / epochs if epochs else None

    def _of_this_start(self) -> tuple[int, float]:
        """Epochs that its attempts have reported, and the seconds that they took."""
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
    """What a board keeps of a trial."""
    record = TrialRecord(trial)
    return Named(
        number=trial.number,
        label=label(trial),
        baseline=record.baseline,
        settings=trial.params,
        is_over_limit=bool(record.over_limit),
        is_papers=record.is_paper_row,
    )
