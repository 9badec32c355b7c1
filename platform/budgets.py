"""The budget of a search: its number of trials, and what may end it earlier."""

from __future__ import annotations

from dataclasses import dataclass

import optuna

from platform.study import FINISHED, best_trial, last_improvement, num_finished
from platform.trial_record import TrialRecord


@dataclass(frozen=True, kw_only=True)
class Budget:
    """When a search is over; None: no limit."""

    trials: int
    hours: float | None = None  # of one start
    gpu_hours: float | None = None  # of the whole study
    target: float | None = None  # value of the objective from which on no trial is started
    patience: int | None = None  # finished trials without an improvement

    def num_left(self, study: optuna.Study, gpus_per_trial: float) -> int:
        """Return how many more trials must finish."""
        return 0 if self.met(study, gpus_per_trial) else max(0, self.trials - num_finished(study))

    def met(self, study: optuna.Study, gpus_per_trial: float) -> str | None:
        """Return which limit other than `trials` and `hours` ends the search, in words; None while none does."""
        best = best_trial(study) if self.target is not None else None
        if self.target is not None and best and best.values[0] >= self.target:
            return f"trial {best.number} has reached --target {self.target:g}"
        last = last_improvement(study) if self.patience is not None else None
        if self.patience is not None and last and num_finished_after(study, last) >= self.patience:
            num = num_finished_after(study, last)
            return f"{num} trials since trial {last.number} were no better, the limit of --patience"
        if self.gpu_hours_spent(study, gpus_per_trial):
            return f"--gpu-hours {self.gpu_hours:g} are spent"
        return None

    def gpu_hours_spent(self, study: optuna.Study, gpus_per_trial: float) -> bool:
        """Whether the study has used its GPU hours."""
        return self.gpu_hours is not None and gpu_hours(study, gpus_per_trial) >= self.gpu_hours


def gpu_hours(study: optuna.Study, gpus_per_trial: float) -> float:
    """Return the GPU hours of all epochs so far, including those of running and failed trials."""
    seconds = sum(TrialRecord(trial).total_seconds for trial in study.get_trials(deepcopy=False))
    return seconds * gpus_per_trial / 3600


def num_finished_after(study: optuna.Study, last: optuna.trial.FrozenTrial) -> int:
    """Return how many trials finished after `last`."""
    ends = [trial.datetime_complete for trial in study.get_trials(deepcopy=False, states=FINISHED)]
    return sum(end is not None and last.datetime_complete is not None and end > last.datetime_complete for end in ends)
