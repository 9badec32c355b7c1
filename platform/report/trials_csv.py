"""Every trial as a row: state, settings, metrics, epochs, seconds and reason."""

from __future__ import annotations

import csv
import io

from optuna.trial import FrozenTrial

from platform.figures.trials import distributions_of
from platform.stored_study import StoredStudy, num_epochs
from platform.trial_record import TrialRecord

FIXED = ("number", "state", "baseline", "started", "ended", "epochs", "seconds", "attempts", "reason")


def trials_csv(stored: StoredStudy) -> str:
    """The table under the names of its columns; `none` is a setting, and empty what a trial was not asked for."""
    trials = stored.trials
    params = list(distributions_of(trials))
    metrics = list(dict.fromkeys(name for trial in trials for name in TrialRecord(trial).metrics))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*FIXED, *(f"params.{name}" for name in params), *(f"metrics.{name}" for name in metrics)])
    for trial in trials:
        own = TrialRecord(trial).metrics
        settings = ["none" if trial.params.get(name, "") is None else trial.params.get(name, "") for name in params]
        table.writerow([*_fixed(trial), *settings, *(own.get(name, "") for name in metrics)])
    return text.getvalue()


def _fixed(trial: FrozenTrial) -> list[object]:
    record = TrialRecord(trial)
    moments = [moment.isoformat() if moment else "" for moment in (trial.datetime_start, trial.datetime_complete)]
    seconds = record.metrics.get("total_seconds", "")
    row = [trial.number, trial.state.name.lower(), record.baseline, *moments, num_epochs(trial), seconds]
    return [*row, record.attempts or "", record.reason]
