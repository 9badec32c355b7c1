"""Budgets that end a search before its number of trials: a target, no improvement, or GPU hours."""

from __future__ import annotations

import optuna

from platform.plan import Plan
from platform.study import FINISHED, best_trial, last_improvement
from platform.trial_record import TrialRecord


def budget_met(study: optuna.Study, plan: Plan) -> str | None:
    """Return which budget of the plan ends the search, in words; None while none does."""
    best = best_trial(study) if plan.target is not None else None
    if plan.target is not None and best and best.values[0] >= plan.target:
        return f"trial {best.number} has reached --target {plan.target:g}"
    last = last_improvement(study) if plan.patience is not None else None
    if plan.patience is not None and last and num_finished_after(study, last) >= plan.patience:
        num = num_finished_after(study, last)
        return f"{num} trials since trial {last.number} were no better, the limit of --patience"
    if plan.gpu_hours is not None and gpu_hours(study, plan) >= plan.gpu_hours:
        return f"--gpu-hours {plan.gpu_hours:g} are spent"
    return None


def gpu_hours(study: optuna.Study, plan: Plan) -> float:
    """Return the GPU hours of all epochs so far, including those of running and failed trials."""
    trials = study.get_trials(deepcopy=False)
    seconds = sum(TrialRecord(trial).total_seconds for trial in trials)
    return seconds * plan.gpus_per_trial / 3600


def num_finished_after(study: optuna.Study, last: optuna.trial.FrozenTrial) -> int:
    """Return how many trials finished after `last`."""
    ends = [trial.datetime_complete for trial in study.get_trials(deepcopy=False, states=FINISHED)]
    return sum(end is not None and last.datetime_complete is not None and end > last.datetime_complete for end in ends)
