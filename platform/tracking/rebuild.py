"""Rebuild a lost journal from the study, when a study resumes on another machine."""

from __future__ import annotations

from datetime import datetime

import optuna

from platform.objectives import last_epoch
from platform.samplers.registry import SearchMethod
from platform.tracking.events import start_of
from platform.tracking.journal import Journal
from platform.training_setup import TrainingSetup
from platform.trial_record import TrialRecord


def rebuild(study: optuna.Study, setup: TrainingSetup, method: SearchMethod, journal: Journal) -> None:
    """If the journal is empty, write the start, the last epoch and the end of every trial that has started.

    Sending them again changes nothing in MLflow, except that the last epoch of a trial may appear with two timestamps.

    Args:
        setup: maps the parameters of each trial to its recipe.
        method: the sampler and the pruner, for the tags.
        journal: unchanged if it has any event.
    """
    if journal.size():
        return
    for trial in study.get_trials(deepcopy=False):
        if trial.datetime_start is None:  # waiting, or skipped before it started
            continue
        began = _seconds(trial.datetime_start)
        journal.append("trial", **start_of(trial, setup.recipe(trial), setup, method), time=began)
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
