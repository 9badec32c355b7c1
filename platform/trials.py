"""The trials of one start: which attempt runs which trial of the study, and how its reports are processed.

Each event goes to the journal first and to Optuna second. If a start is killed between the two, the next start finds
the trial RUNNING and runs its last epoch again from the checkpoint; the journal skips events that it has already.
"""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from platform.checkpoints import Checkpoints, kept_checkpoints, store_checkpoint
from platform.failures import Failures, disk_is_full
from platform.objectives import final_values, knows_epoch, last_epoch, num_parameters, tell_epoch
from platform.out_of_memory import OutOfMemoryKills, reason_of_deaths
from platform.resolved_search import ResolvedSearch
from platform.samplers.pruning import should_stop
from platform.samplers.registry import PRUNERS
from platform.samplers.samplers import reseed
from platform.spaces.constraints import judge, known_costs
from platform.spaces.points import rejection
from platform.study import looking_once
from platform.terminal.lines import Screen
from platform.tracking.events import METRIC_KEYS, start_of
from platform.tracking.journal import Book
from platform.trial_record import TrialRecord
from shards_tools.errors import Error
from shards_tools.folders import is_full
from trainables.recipes.recipe import Recipe
from trainables.recipes.settings import as_stored
from trainables.training.trial_report import EarlyEnd, EndReason, TrialReport

MAX_ATTEMPTS_WITHOUT_PROGRESS = 3


@dataclass
class Attempt:
    """One run of a trial by Ray."""

    trial: optuna.Trial
    recipe: Recipe
    ending: str = ""  # why it ends early, if the training reported a reason
    failed: bool = False
    saved: bool = False  # whether the study knows the checkpoint of its last report


class Trials:
    """Makes all decisions about trials: start, resume, stop, end. Tune's searcher, scheduler and callback call it."""

    def __init__(self, study: optuna.Study, search: ResolvedSearch, journal: Book, display: Screen) -> None:
        self.study, self._journal, self.display = study, journal, display
        self._setup, self._goal, self._budget, self._method = search.setup, search.goal, search.budget, search.method
        self.resources, self.stores = search.resources, search.stores
        self._attempts: dict[str, Attempt] = {}
        self._checkpoints = Checkpoints(study, search.stores)
        self.interrupted = False  # by Ctrl-C or SIGTERM
        self.hurried = False  # by a second Ctrl-C or SIGTERM: do not wait for running epochs
        self.out_of_time = False
        self.failure: Error | None = None  # what the user must fix: an unreachable store, a full disk
        self.failed, self._kills = Failures(), OutOfMemoryKills()
        self._to_adopt: list[optuna.Trial] = []
        for running in study.get_trials(states=(TrialState.RUNNING,)):
            trial = self._adopt(running)
            if TrialRecord(trial).pruned_at is None:
                self._to_adopt.append(trial)
            else:  # an earlier start decided to prune it and was killed
                self._end_pruned(trial)
        self._spend()

    @property
    def done(self) -> bool:
        """Whether nothing is left to start."""
        ends = self.stopping or self.failed.are_too_many
        return ends or (not self._attempts and not self._to_adopt and self._num_left() == 0)

    @property
    def over(self) -> bool:
        """Whether all trials have ended without a failure, so that the stages after the search may start."""
        return self._num_left() == 0 and not (self.interrupted or self.failure or self.failed.are_too_many)

    @property
    def stopping(self) -> bool:
        """Whether this start is ending; its running trials stay RUNNING, and the next start resumes them."""
        return self.interrupted or self.out_of_time or self.failure is not None

    @property
    def ends_now(self) -> bool:
        """Whether to stop without waiting for running epochs; after the first Ctrl-C, they are waited for."""
        waits = self.interrupted and not self.hurried and self._attempts
        return self.stopping and (self.out_of_time or self.failure is not None or not waits)

    def start(self, attempt_id: str) -> dict[str, Any] | None:
        """Return the configuration of the next attempt, or None if the running trials may suffice."""
        if len(self._attempts) >= self.resources.concurrency:
            return None
        with looking_once(self.study):
            following = self._next()
        if following is None:
            return None
        trial, recipe = following
        attempt = TrialRecord(trial).attempts + 1
        TrialRecord(trial).attempts = attempt
        self._attempts[attempt_id] = Attempt(trial, recipe)
        self.display.start(trial, attempt, last_epoch(self._frozen(trial)) or 0, recipe.epochs)
        return {
            **self._setup.config(recipe, self.resources),
            **TrialRecord(trial).training,  # another fold or seed; see fixed_trials.py
            "trial": trial.number,
            "attempt": attempt,
            "bucket": self._checkpoints.in_bucket(trial.number, attempt),
            "resume": kept_checkpoints(trial),
        }

    def _next(self) -> tuple[optuna.Trial, Recipe] | None:
        """Return the next trial to train; suggestions that are rejected or known to exceed a limit are pruned."""
        while self._to_adopt or len(self._attempts) < self._num_left():
            trial = self._to_adopt.pop(0) if self._to_adopt else self._ask()
            if self._frozen(trial).state.is_finished():
                self._ended_outside(trial)
                continue
            try:
                recipe = self._setup.recipe(trial)
            except optuna.TrialPruned as reason:
                self._journal.append("trial", **start_of(trial, None, self._setup, self._method), time=time.time())
                self._end(trial, TrialState.PRUNED, rejection(reason))
                continue
            TrialRecord(trial).settings = as_stored(recipe)
            over = self._judge(trial, known_costs(recipe, self._goal.at_most))
            self._journal.append("trial", **start_of(trial, recipe, self._setup, self._method), time=time.time())
            if not over:
                return trial, recipe
            self._end(trial, TrialState.PRUNED, over)
        return None

    def _judge(self, trial: optuna.Trial, costs: dict[str, float]) -> str:
        """Return which limit the trial exceeds, or an empty text."""
        limits = self._goal.at_most
        return judge(trial, self._frozen(trial).constraints, costs, limits) if limits else ""

    def report(self, attempt_id: str, report: TrialReport) -> bool:
        """Process one report of an attempt, and return whether the attempt continues.

        Reports of an attempt that has ended are ignored.
        """
        attempt = self._attempts.get(attempt_id)
        if attempt is None:
            return False
        attempt.saved = False
        if report.is_partial:  # `checkpoint` records it
            return True
        trial, step = attempt.trial, report.epoch
        known = self._frozen(trial)
        if known.state.is_finished():
            return False
        self._note_reading(trial, report.reading)
        if knows_epoch(known, step):
            # An earlier start may have died after storing the value and before asking the pruner.
            asks_again = step == known.last_step and PRUNERS[self._method.pruner].has_rungs
            stops = asks_again and should_stop(trial, step, attempt.recipe.epochs)
            return not (stops or self.interrupted)
        values = {key: float(value) for key, value in report.metrics.items() if key in METRIC_KEYS}
        values["total_seconds"] = TrialRecord(trial).total_seconds + values.get("seconds", 0.0)
        if "num_parameters" in (*self._goal.objectives, *self._goal.at_most):
            values["num_parameters"] = num_parameters(attempt.recipe)
        for name in self._goal.objectives:
            if not math.isfinite(values[name]):
                attempt.ending, attempt.failed = f"{name} is {values[name]}", True
                return False
        self._journal.append("metrics", trial=trial.number, step=step, time=report.time, values=values)
        TrialRecord(trial).metrics = values
        self._spend()
        attempt.ending = self._judge(trial, values)
        tell_epoch(trial, step, values[self._goal.objective])
        stops = not attempt.ending and should_stop(trial, step, attempt.recipe.epochs)
        self.display.report(trial, step, attempt.recipe.epochs, values, stops)
        return not (stops or attempt.ending or self.interrupted)

    def end_early(self, attempt_id: str, end: EarlyEnd) -> None:
        """Note why an attempt ends for good, for `finish`; that of an attempt that has ended is ignored.

        Raises:
            Error: the disk is full, checkpoints cannot be stored, or the shards cannot be read; it stays RUNNING.
        """
        attempt = self._attempts.get(attempt_id)
        if attempt is None:
            return
        if end.reason is EndReason.DISK_FULL:
            raise disk_is_full(end.place or self.stores.runs, end.text)
        if end.reason in (EndReason.STORE_UNREACHABLE, EndReason.DATA_UNREADABLE):
            raise Error(f"{end.text} Run the same command again; running trials resume from their last checkpoint.")
        attempt.ending, attempt.failed = end.text, end.reason is not EndReason.INFEASIBLE
        self.failed.note(end.text, end.traceback)

    def _note_reading(self, trial: optuna.Trial, reading: str) -> None:
        """Store how the trial reads its images, if it reports that for the first time."""
        if reading and TrialRecord(trial).reading != reading:
            self._journal.append("tag", trial=trial.number, key="reading", value=reading, time=time.time())
            TrialRecord(trial).reading = reading

    def checkpoint(self, attempt_id: str, path: str) -> None:
        """Store the path of the attempt's newest checkpoint, from which the next attempt resumes."""
        if (attempt := self._attempts.get(attempt_id)) and not self._frozen(attempt.trial).state.is_finished():
            store_checkpoint(attempt.trial, path)
            attempt.saved = True

    def finish(self, attempt_id: str, *, died: bool) -> None:
        """Process the end of an attempt; `died` if its process ended too, whether or not the trial had ended."""
        attempt = self._attempts.pop(attempt_id, None)
        if attempt is None:
            return
        trial = self._frozen(attempt.trial)
        if trial.state.is_finished():
            self._ended_outside(attempt.trial)
            return
        full = [place for place in (self.stores.runs, Path(tempfile.gettempdir())) if died and is_full(place)]
        if full:
            raise disk_is_full(full[0], "no space is left")
        if attempt.failed:
            self._end(attempt.trial, TrialState.FAIL, attempt.ending)
        elif attempt.ending:
            # Not FAIL, which the sampler ignores: it would suggest similar settings again.
            self._end(attempt.trial, TrialState.PRUNED, attempt.ending)
        elif TrialRecord(trial).pruned_at is not None:
            self._end_pruned(attempt.trial)
        elif last_epoch(trial) == attempt.recipe.epochs and (attempt.saved or not died):
            self._end(attempt.trial, TrialState.COMPLETE, "")
        elif died or not self.stopping:
            self._attempt_died(attempt, trial)

    def _attempt_died(self, attempt: Attempt, trial: optuna.trial.FrozenTrial) -> None:
        """Retry from the last checkpoint, unless the trial has died too often in the same epoch."""
        deaths, epoch, by_kernel = TrialRecord(trial).deaths, last_epoch(trial), self._kills.are_new()
        count = deaths["count"] + 1 if deaths["epoch"] == epoch else 1
        TrialRecord(attempt.trial).deaths = {"epoch": epoch, "count": count}
        if count < MAX_ATTEMPTS_WITHOUT_PROGRESS:
            self.display.died(attempt.trial, count)
            self._to_adopt.append(attempt.trial)
        else:
            reason = reason_of_deaths(count, (epoch or 0) + 1, by_kernel=by_kernel)
            self.failed.note(reason)
            self._end(attempt.trial, TrialState.FAIL, reason)

    def _end(self, trial: optuna.Trial, state: TrialState, reason: str) -> None:
        """End a trial: in the journal, on disk, in the study, then on the display.

        Checkpoints are deleted before the study has the end: a start that is killed in between finds the trial RUNNING
        and ends it again. In the other order, the checkpoints would stay forever.
        """
        self._journal.append("end", trial=trial.number, state=state.name, reason=reason, time=time.time())
        if reason:
            TrialRecord(trial).reason = reason
        frozen = self._frozen(trial)
        self._checkpoints.clean_up(frozen, state)
        values = final_values(frozen, self._goal.objectives) if state == TrialState.COMPLETE else None
        self.study.tell(trial, values, state=state)
        self.failed.count(state)
        self.display.end(trial, state, reason)

    def _ended_outside(self, trial: optuna.Trial) -> None:
        """Note the end of a trial that another program has ended in the study, such as `platform.studies stop`."""
        frozen = self._frozen(trial)
        self._checkpoints.clean_up(frozen, frozen.state)  # a start that is killed here does it when it starts again
        reason = TrialRecord(frozen).reason or "ended in the study by another program"
        self._journal.append("end", trial=trial.number, state=frozen.state.name, reason=reason, time=time.time())
        self.display.end(trial, frozen.state, reason)

    def _ask(self) -> optuna.Trial:
        self._reseed()
        return self.study.ask()

    def _adopt(self, trial: optuna.trial.FrozenTrial) -> optuna.Trial:
        self._reseed(trial.number)
        return optuna.Trial(self.study, trial._trial_id)

    def _reseed(self, number: int | None = None) -> None:
        setup, sampler = self._setup, self._method.sampler
        reseed(self.study, sampler, space=setup.space, rungs=setup.rungs, seed=setup.seed, number=number)

    def _end_pruned(self, trial: optuna.Trial) -> None:
        self._end(trial, TrialState.PRUNED, f"pruned at epoch {TrialRecord(trial).pruned_at}")

    def _num_left(self) -> int:
        return self._budget.num_left(self.study, self.resources.gpus_per_trial)

    def _spend(self) -> None:
        """End this start if the GPU hours are used up; running trials keep their last checkpoint."""
        if self._budget.gpu_hours_spent(self.study, self.resources.gpus_per_trial):
            self.out_of_time = True

    def _frozen(self, trial: optuna.Trial) -> optuna.trial.FrozenTrial:
        # Not from the study's list of trials, which takes longer with every trial.
        return self.study._storage.get_trial(trial._trial_id)
