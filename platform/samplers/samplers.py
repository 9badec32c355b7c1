"""Create the samplers by name, seeded so that a resumed search continues as if it had not been interrupted."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from platform.samplers.registry import SAMPLERS
from platform.samplers.rungwise import RungwiseSampler
from platform.spaces.grid import StudyGrid, grid_of
from platform.spaces.loading import Space
from shards_tools.registry import resolve

EARLIEST_SHARE = 0.1  # of the epochs; earlier rungs predict the final value too poorly to learn from


def rungwise(space: Space, rungs: Sequence[int], seed: int) -> BaseSampler:
    """Return our own sampler, which learns from the rungs of successive halving."""
    learned = [rung for rung in rungs if rung >= EARLIEST_SHARE * rungs[-1]]
    return RungwiseSampler(space.suggest, learned, seed=seed)


def grid(space: Space, study_seed: int) -> BaseSampler:
    """Return a sampler that suggests each point of the space's grid once, shuffled with the study's seed."""
    return StudyGrid(grid_of(space), seed=study_seed)


def quasi_monte_carlo(study_seed: int) -> BaseSampler:
    """Return Optuna's quasi-Monte Carlo sampler: each trial takes the next point of one low-discrepancy sequence."""
    return optuna.samplers.QMCSampler(seed=study_seed)


def make_sampler(name: str, *, space: Space, rungs: Sequence[int], study_seed: int, seed: int) -> BaseSampler:
    """Return a sampler by its name.

    Args:
        space: the search space.
        rungs: the epochs at which the pruner compares trials; the last one is the end of a training.
        study_seed: the seed of the study.
        seed: the seed for the next trial.
    """
    given = {"space": space, "rungs": rungs, "study_seed": study_seed, "seed": seed}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # about QMCSampler
        sampler: BaseSampler = resolve(SAMPLERS[name].factory)(**{key: given[key] for key in SAMPLERS[name].needs})
    return sampler


def reseed(
    study: optuna.Study, sampler: str, *, space: Space, rungs: Sequence[int], seed: int, number: int | None = None
) -> None:
    """Set the study's sampler, seeded with the study's seed and the number of the next trial.

    An interrupted and resumed study therefore suggests the same settings as an uninterrupted one.

    Args:
        number: of the next trial; None: look it up in the study.
    """
    if number is None:
        trials = study.get_trials(deepcopy=False)
        waiting = [trial.number for trial in trials if trial.state == TrialState.WAITING]
        number = min(waiting, default=len(trials))
    own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    study.sampler = make_sampler(sampler, space=space, rungs=rungs, study_seed=seed, seed=own)
