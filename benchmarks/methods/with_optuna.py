"""Optuna's samplers and pruners, as its documentation uses them."""

from __future__ import annotations

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from benchmarks.laboratory import Job, Space
from benchmarks.methods.params import suggest


class WithOptuna:
    """Asks a study, which prunes nothing after the last epoch."""

    def __init__(self, space: Space, epochs: int, study: optuna.Study) -> None:
        self._space, self._epochs, self._study = space, epochs, study
        self._trials: dict[int, optuna.Trial] = {}

    def next_job(self) -> Job:
        trial = self._study.ask()
        self._trials[trial.number] = trial
        return Job(trial.number, suggest(trial, self._space))

    def report(self, trial: int, epoch: int, value: float) -> bool:
        asked = self._trials[trial]
        asked.report(value, epoch)
        if epoch == self._epochs:
            self._study.tell(asked, value)
            return False
        if self._stops(asked, epoch):
            self._study.tell(asked, state=TrialState.PRUNED)
            return False
        return True

    def _stops(self, trial: optuna.Trial, epoch: int) -> bool:
        return trial.should_prune()


def with_parts(space: Space, epochs: int, sampler: BaseSampler, pruner: BasePruner) -> WithOptuna:
    """Return a search with these parts of Optuna."""
    # Hyperband derives a trial's bracket from the study's name.
    study = optuna.create_study(study_name="search", direction="maximize", sampler=sampler, pruner=pruner)
    return WithOptuna(space, epochs, study)


def random_search(space: Space, epochs: int, seed: int) -> WithOptuna:
    """Return random search."""
    return with_parts(space, epochs, RandomSampler(seed=seed), NopPruner())


def random_halving(space: Space, epochs: int, seed: int) -> WithOptuna:
    """Return random search with successive halving."""
    return with_parts(space, epochs, RandomSampler(seed=seed), SuccessiveHalvingPruner(2, 3))


def tpe_median(space: Space, epochs: int, seed: int) -> WithOptuna:
    """Return TPE with the median rule."""
    pruner = MedianPruner(n_startup_trials=5, n_warmup_steps=2)
    return with_parts(space, epochs, TPESampler(seed=seed), pruner)


def tpe_hyperband(space: Space, epochs: int, seed: int) -> WithOptuna:
    """Return TPE with Hyperband."""
    return with_parts(space, epochs, TPESampler(seed=seed), HyperbandPruner(2, epochs, 3))


def tpe_halving(space: Space, epochs: int, seed: int) -> WithOptuna:
    """Return TPE with successive halving."""
    return with_parts(space, epochs, TPESampler(seed=seed), SuccessiveHalvingPruner(2, 3))
