"""Which settings are tried next: Optuna's samplers by name, seeded so that an interruption leaves no trace."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from platform.pruning import rungs_of
from platform.sampling.rungwise import RungwiseSampler
from platform.spaces.grid import StudyGrid, grid_of

if TYPE_CHECKING:
    from platform.plan import Plan

EARLIEST_SHARE = 0.1  # of the epochs: an earlier rung says too little of the end to be learned from


def _rungwise(plan: Plan, seed: int) -> BaseSampler:
    learned = [rung for rung in rungs_of(plan) if rung >= EARLIEST_SHARE * plan.longest_epochs]
    return RungwiseSampler(plan.space.suggest, [*learned, plan.longest_epochs], seed=seed)


# Name on the command line -> the sampler of a plan, seeded for one trial. Sequences keep the seed of the study: each
# trial takes their next point.
SAMPLERS: dict[str, Callable[[Plan, int], BaseSampler]] = {
    "rungwise": _rungwise,
    "tpe": lambda plan, seed: optuna.samplers.TPESampler(seed=seed),
    "gp": lambda plan, seed: optuna.samplers.GPSampler(seed=seed),
    "cmaes": lambda plan, seed: optuna.samplers.CmaEsSampler(seed=seed),
    "random": lambda plan, seed: optuna.samplers.RandomSampler(seed=seed),
    "grid": lambda plan, seed: StudyGrid(grid_of(plan.space), seed=plan.seed),
    "qmc": lambda plan, seed: optuna.samplers.QMCSampler(seed=plan.seed),
}


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
        study.sampler = SAMPLERS[plan.sampler](plan, seed)
