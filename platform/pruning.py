"""Which trials end early: Optuna's pruner decides, and the decision is kept in the study's database."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import optuna
from optuna import pruners
from optuna.pruners import BasePruner

from platform.registry import PRUNERS
from platform.trial_record import TrialRecord
from shards_tools.registry import resolve

if TYPE_CHECKING:
    from platform.plan import Plan

REDUCTION_FACTOR = 3  # of successive halving: the best third of a rung goes on; Li et al. 2020 (ASHA), section 3.2
LARGEST_NUM_RUNGS = 3
SHORTEST_START = 2  # epochs; after one, little but the warm-up is over


def rungs_of(plan: Plan) -> list[int]:
    """The epochs at which halving compares trials: thirds of one another, and none at the end of a training.

    The first lies at a 27th of the epochs, but behind the warm-up, where losses of metric learning say little yet.
    """
    epochs = plan.longest_epochs
    first = max(SHORTEST_START, plan.space.longest_warmup, math.ceil(epochs / REDUCTION_FACTOR**LARGEST_NUM_RUNGS))
    rungs = [first * REDUCTION_FACTOR**number for number in range(LARGEST_NUM_RUNGS + 1)]
    return [rung for rung in rungs if rung < epochs]


def make_pruner(plan: Plan) -> BasePruner:
    """Return the pruner that the plan names. Each leaves a trial alone until the first rung of halving."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # Optuna's of Wilcoxon and patience
        pruner: BasePruner = resolve(PRUNERS[plan.pruner].factory)(plan)
        return pruner


def _first_rung(plan: Plan) -> int:
    return min([plan.longest_epochs, *rungs_of(plan)])


def halving(plan: Plan) -> BasePruner:
    """Return Optuna's asynchronous successive halving."""
    return pruners.SuccessiveHalvingPruner(_first_rung(plan), REDUCTION_FACTOR)


def hyperband(plan: Plan) -> BasePruner:
    """Return Optuna's Hyperband."""
    return pruners.HyperbandPruner(_first_rung(plan), plan.longest_epochs, REDUCTION_FACTOR)


def median(plan: Plan) -> BasePruner:
    """Return Optuna's median rule."""
    return pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=_first_rung(plan))


def wilcoxon(plan: Plan) -> BasePruner:
    """Return Optuna's signed-rank test over epochs."""
    return pruners.WilcoxonPruner(n_startup_steps=max(_first_rung(plan), 2))


def patient(plan: Plan) -> BasePruner:
    """Return Optuna's patience without improvement."""
    return pruners.PatientPruner(None, patience=max(_first_rung(plan), 2))


def never(plan: Plan) -> BasePruner:
    """Return a pruner that prunes nothing."""
    return pruners.NopPruner()


def should_stop(trial: optuna.Trial, step: int, last_step: int) -> bool:
    """Whether the study's pruner ends `trial` at `step`, which it has just reported.

    Nobody is asked at the last step: a trial that ran to the end is complete. A baseline is asked until the first
    "prune" and not any more: it runs to the end, and fills no rung that it did not earn. With several objectives
    nobody is: Optuna knows no values of epochs then. Nor is a baseline that is over a limit of --at-most, so that
    nobody has to be better than what is not allowed.
    """
    if len(trial.study.directions) > 1 or TrialRecord(trial).over_limit:
        return False
    if step >= last_step or TrialRecord(trial).spared_at is not None or not trial.should_prune():
        return False
    if TrialRecord(trial).baseline:
        TrialRecord(trial).spared_at = step
        return False
    TrialRecord(trial).pruned_at = step
    return True
