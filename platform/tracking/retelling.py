"""Tells a new journal what a study remembers: the machine that kept the old one is gone, and what it had not sent."""

from __future__ import annotations

from datetime import datetime

import optuna

from platform.objectives import last_epoch
from platform.plan import Plan
from platform.tracking.events import start_of
from platform.tracking.journal import Journal
from platform.trial_record import TrialRecord


def retell(study: optuna.Study, plan: Plan, journal: Journal) -> None:
    """If the journal is empty, write the start, the last epoch and the end of every trial that has started.

    What MLflow knows of it already changes nothing there, but that a last epoch may stand at two times.
    """
    if journal.size():
        return
    for trial in study.get_trials(deepcopy=False):
        if trial.datetime_start is None:  # it waits, or was left out before it began
            continue
        began = _seconds(trial.datetime_start)
        journal.append("trial", **start_of(trial, plan.space.recipe(trial, plan.epochs), plan), time=began)
        ended = _seconds(trial.datetime_complete) if trial.state.is_finished() else began
        epoch = last_epoch(trial)
        if epoch:
            values = TrialRecord(trial).metrics
            journal.append("metrics", trial=trial.number, step=epoch, time=ended, values=values)
        if trial.state.is_finished():
            reason = TrialRecord(trial).reason
            journal.append("end", trial=trial.number, state=trial.state.name, reason=reason, time=ended)


def _seconds(moment: datetime | None) -> float:
    return 0.0 if moment is None else moment.timestamp()
