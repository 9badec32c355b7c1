"""Pruning: Optuna's pruner decides, and the decision is stored in the study."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import optuna
from optuna import pruners
from optuna.pruners import BasePruner

from platform.samplers.registry import PRUNERS
from platform.trial_record import TrialRecord
from shards_tools.registry import resolve

REDUCTION_FACTOR = 3  # of successive halving: the best third of a rung continues; Li et al. 2020 (ASHA), section 3.2
LARGEST_NUM_RUNGS = 3
SHORTEST_START = 2  # epochs; after one, hardly more than the warm-up is done


def rungs_of(epochs: int, warmup: int) -> list[int]:
    """Return the epochs at which halving compares trials, each three times the one before, and then the last epoch.

    The first rung is at 1/27 of the epochs, but never before warm-up ends, because metrics say little until then.

    Args:
        epochs: of the longest training.
        warmup: the epochs of the longest warm-up.
    """
    first = max(SHORTEST_START, warmup, math.ceil(epochs / REDUCTION_FACTOR**LARGEST_NUM_RUNGS))
    rungs = [first * REDUCTION_FACTOR**number for number in range(LARGEST_NUM_RUNGS + 1)]
    return [*(rung for rung in rungs if rung < epochs), epochs]


def make_pruner(name: str, rungs: Sequence[int]) -> BasePruner:
    """Return a pruner by its name; none prunes before the first of `rungs`, whose last one ends a training."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # for Wilcoxon and patience
        pruner: BasePruner = resolve(PRUNERS[name].factory)(rungs)
        return pruner


def halving(rungs: Sequence[int]) -> BasePruner:
    """Return Optuna's asynchronous successive halving."""
    return pruners.SuccessiveHalvingPruner(rungs[0], REDUCTION_FACTOR)


def hyperband(rungs: Sequence[int]) -> BasePruner:
    """Return Optuna's Hyperband."""
    return pruners.HyperbandPruner(rungs[0], rungs[-1], REDUCTION_FACTOR)


def median(rungs: Sequence[int]) -> BasePruner:
    """Return Optuna's median pruner."""
    return pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=rungs[0])


def wilcoxon(rungs: Sequence[int]) -> BasePruner:
    """Return Optuna's Wilcoxon signed-rank test over epochs."""
    return pruners.WilcoxonPruner(n_startup_steps=max(rungs[0], 2))


def patient(rungs: Sequence[int]) -> BasePruner:
    """Return Optuna's pruner for trials that no longer improve."""
    return pruners.PatientPruner(None, patience=max(rungs[0], 2))


def never(rungs: Sequence[int]) -> BasePruner:
    """Return a pruner that prunes nothing."""
    return pruners.NopPruner()


def should_stop(trial: optuna.Trial, step: int, last_step: int) -> bool:
    """Ask the study's pruner whether `trial` ends at epoch `step`, which it has just reported.

    The pruner is not asked in these cases:

    - At the last epoch: a trial that ran to its end is complete.
    - With several objectives: Optuna has no intermediate values then.
    - For a trial over a limit of --at-most: other trials must not be compared with it.
    - For a baseline that would have been pruned at an earlier epoch. It runs to its end, but fills no further rungs.
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
