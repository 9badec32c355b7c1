"""Which settings are tried next: Optuna's samplers by name, seeded so that an interruption leaves no trace."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from platform.pruning import rungs_of
from platform.registry import SAMPLERS
from platform.sampling.rungwise import RungwiseSampler
from platform.spaces.grid import StudyGrid, grid_of
from shards_tools.registry import resolve

if TYPE_CHECKING:
    from platform.plan import Plan

EARLIEST_SHARE = 0.1  # of the epochs: an earlier rung says too little of the end to be learned from


def rungwise(plan: Plan, seed: int) -> BaseSampler:
    """Return our sampler, which learns from the rungs of halving."""
    learned = [rung for rung in rungs_of(plan) if rung >= EARLIEST_SHARE * plan.longest_epochs]
    return RungwiseSampler(plan.space.suggest, [*learned, plan.longest_epochs], seed=seed)


def tpe(plan: Plan, seed: int) -> BaseSampler:
    """Return Optuna's tree-structured Parzen estimator."""
    return optuna.samplers.TPESampler(seed=seed)


def gaussian_process(plan: Plan, seed: int) -> BaseSampler:
    """Return Optuna's Gaussian process."""
    return optuna.samplers.GPSampler(seed=seed)


def cma_es(plan: Plan, seed: int) -> BaseSampler:
    """Return Optuna's CMA-ES."""
    return optuna.samplers.CmaEsSampler(seed=seed)


def at_random(plan: Plan, seed: int) -> BaseSampler:
    """Return Optuna's random sampler."""
    return optuna.samplers.RandomSampler(seed=seed)


def grid(plan: Plan, seed: int) -> BaseSampler:
    """Return the grid of the space, in an order given by the study's seed: each trial takes its next point."""
    return StudyGrid(grid_of(plan.space), seed=plan.seed)


def quasi_monte_carlo(plan: Plan, seed: int) -> BaseSampler:
    """Return Optuna's low-discrepancy sequence of the study's seed: each trial takes its next point."""
    return optuna.samplers.QMCSampler(seed=plan.seed)


def reseed(study: optuna.Study, plan: Plan, number: int | None = None) -> None:
    """Give the study its sampler, seeded from (seed, number of the next trial).

    A study that was interrupted then draws what the undisturbed one would have drawn.
    """
    if number is None:
        trials = study.get_trials(deepcopy=False)
        waiting = [trial.number for trial in trials if trial.state == TrialState.WAITING]
        number = min(waiting, default=len(trials))
    seed = int(np.random.SeedSequence([plan.seed, number]).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # Optuna's of the sequence
        study.sampler = resolve(SAMPLERS[plan.sampler].factory)(plan, seed)
