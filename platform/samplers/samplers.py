"""Create the samplers by name, seeded so that a resumed search continues as if it had not been interrupted."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from platform.samplers.pruning import rungs_of
from platform.samplers.registry import SAMPLERS
from platform.samplers.rungwise import RungwiseSampler
from platform.spaces.grid import StudyGrid, grid_of
from shards_tools.registry import resolve

if TYPE_CHECKING:
    from platform.plan import Plan

EARLIEST_SHARE = 0.1  # of the epochs; earlier rungs predict the final value too poorly to learn from


def rungwise(plan: Plan, seed: int) -> BaseSampler:
    """Return our own sampler, which learns from the rungs of successive halving."""
    learned = [rung for rung in rungs_of(plan) if rung >= EARLIEST_SHARE * plan.longest_epochs]
    return RungwiseSampler(plan.space.suggest, [*learned, plan.longest_epochs], seed=seed)


def tpe(plan: Plan, seed: int) -> BaseSampler:
    """Return Optuna's tree-structured Parzen estimator."""
    return optuna.samplers.TPESampler(seed=seed)


def gaussian_process(plan: Plan, seed: int) -> BaseSampler:
    """Return Optuna's Gaussian process sampler."""
    return optuna.samplers.GPSampler(seed=seed)


def cma_es(plan: Plan, seed: int) -> BaseSampler:
    """Return Optuna's CMA-ES sampler."""
    return optuna.samplers.CmaEsSampler(seed=seed)


def at_random(plan: Plan, seed: int) -> BaseSampler:
    """Return Optuna's random sampler."""
    return optuna.samplers.RandomSampler(seed=seed)


def grid(plan: Plan, seed: int) -> BaseSampler:
    """Return a sampler that suggests each point of the space's grid once, shuffled with the study's seed."""
    return StudyGrid(grid_of(plan.space), seed=plan.seed)


def quasi_monte_carlo(plan: Plan, seed: int) -> BaseSampler:
    """Return Optuna's quasi-Monte Carlo sampler: each trial takes the next point of one low-discrepancy sequence."""
    return optuna.samplers.QMCSampler(seed=plan.seed)


def reseed(study: optuna.Study, plan: Plan, number: int | None = None) -> None:
    """Set the study's sampler, seeded with the study's seed and the number of the next trial.

    An interrupted and resumed study therefore suggests the same settings as an uninterrupted one.

    Args:
        number: of the next trial; None: look it up in the study.
    """
    if number is None:
        trials = study.get_trials(deepcopy=False)
        waiting = [trial.number for trial in trials if trial.state == TrialState.WAITING]
        number = min(waiting, default=len(trials))
    seed = int(np.random.SeedSequence([plan.seed, number]).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # about QMCSampler
        study.sampler = resolve(SAMPLERS[plan.sampler].factory)(plan, seed)
