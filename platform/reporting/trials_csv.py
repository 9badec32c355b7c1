"""The table `trials.csv`: state, settings, metrics, epochs, seconds and reason of every trial."""

from __future__ import annotations

import csv
import io

from optuna.trial import FrozenTrial

from platform.read_only_study import StoredStudy, num_epochs
from platform.reporting.figures.trials import distributions_of
from platform.trial_record import TrialRecord

FIXED = ("number", "state", "baseline", "started", "ended", "epochs", "seconds", "attempts", "reason")


def trials_csv(stored: StoredStudy) -> str:
    """Return the table as CSV; a parameter that a trial lacks is empty, and a value of None is `none`."""
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
