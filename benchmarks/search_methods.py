"""The search methods that `benchmarks/search.py` compares: ours, Optuna, Ray Tune, BOHB.

Each starts trainings in a laboratory that counts their epochs, until the laboratory raises. They use the packages' own
samplers, pruners and schedulers, called for one trial at a time without a cluster.
"""

from __future__ import annotations

import math
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import TrialState

from benchmarks.laboratory import Laboratory, Params, Space, Training
from platform.samplers.pruning import make_pruner, rungs_of, should_stop
from platform.samplers.samplers import reseed

OURS = "Sakuga"


def ours(laboratory: Laboratory, seed: int) -> None:
    """Search with the platform's default sampler and pruner."""
    rungs = rungs_of(laboratory.epochs, warmup=0)
    space: Any = types.SimpleNamespace(suggest=lambda trial: _suggest(trial, laboratory.space))
    study = optuna.create_study(direction="maximize", pruner=make_pruner("halving", rungs))
    while True:
        reseed(study, "rungwise", space=space, rungs=rungs, seed=seed)
        trial = study.ask()
        training = laboratory.start(_suggest(trial, laboratory.space))
        while True:
            value = training.advance()
            trial.report(value, training.epoch)
            if should_stop(trial, training.epoch, laboratory.epochs):
                study.tell(trial, state=TrialState.PRUNED)
                break
            if training.epoch == laboratory.epochs:
                study.tell(trial, value)
                break


def optuna_alone(
    laboratory: Laboratory, sampler: optuna.samplers.BaseSampler, pruner: optuna.pruners.BasePruner
) -> None:
    """Search with one of Optuna's samplers and pruners, as in its documentation; never prune after the last epoch."""
    # Hyperband derives a trial's bracket from the study's name.
    study = optuna.create_study(study_name="search", direction="maximize", sampler=sampler, pruner=pruner)
    while True:
        trial = study.ask()
        training = laboratory.start(_suggest(trial, laboratory.space))
        while True:
            value = training.advance()
            trial.report(value, training.epoch)
            if training.epoch == laboratory.epochs:
                study.tell(trial, value)
                break
            if trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                break


def tune(laboratory: Laboratory, seed: int, **asha: Any) -> None:
    """Search with Ray Tune's ASHA and OptunaSearch, called as Tune's controller calls them."""
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    def space(trial: optuna.Trial) -> None:
        _suggest(trial, laboratory.space)

    scheduler: Any = ASHAScheduler(metric="value", mode="max", max_t=laboratory.epochs, **asha)
    searcher: Any = OptunaSearch(space, metric="value", mode="max", seed=seed)
    number = 0
    while True:
        trial = types.SimpleNamespace(trial_id=f"{number:05d}")
        number += 1
        scheduler.on_trial_add(None, trial)
        training = laboratory.start(searcher.suggest(trial.trial_id))
        while True:
            result = {"value": training.advance(), "training_iteration": training.epoch}
            if scheduler.on_trial_result(None, trial, result) == "STOP":  # also at the last epoch
                break
            searcher.on_trial_result(trial.trial_id, result)
        scheduler.on_trial_complete(None, trial, result)
        searcher.on_trial_complete(trial.trial_id, result)


def bohb(laboratory: Laboratory, seed: int) -> None:
    """Search with hpbandster's model and default synchronous Hyperband; promoted trainings resume where they stopped.

    Falkner et al. 2018; the brackets are those of `hpbandster.optimizers.BOHB.get_next_iteration`.
    """
    import ConfigSpace
    from hpbandster.optimizers.config_generators.bohb import BOHB

    eta, shortest = 3, 2
    num_rungs = 1 + int(math.log(laboratory.epochs / shortest) / math.log(eta))
    budgets = [round(laboratory.epochs / eta**number) for number in reversed(range(num_rungs))]
    np.random.seed(seed)  # hpbandster uses numpy's global random state
    warnings.simplefilter("ignore")  # hpbandster uses deprecated names of ConfigSpace
    space = ConfigSpace.ConfigurationSpace(seed=seed)
    space.add([_hyperparameter(ConfigSpace, name, distribution) for name, distribution in laboratory.space.items()])
    model = BOHB(space)
    bracket = 0
    while True:
        depth = num_rungs - 1 - bracket % num_rungs
        bracket += 1
        first = int(num_rungs / (depth + 1)) * eta**depth
        running: list[tuple[Params, Training]] = []
        for number, budget in enumerate(budgets[-depth - 1 :]):
            width = max(int(first * eta**-number), 1)
            results = []
            for index in range(width):
                if number == 0:
                    params = dict(model.get_config(budget)[0])
                    running.append((params, laboratory.start(params)))
                params, training = running[index]
                while training.epoch < budget:
                    value = training.advance()
                results.append(value)
                job = types.SimpleNamespace(
                    id=(bracket, 0, index), result={"loss": -value}, kwargs={"budget": budget, "config": params},
                    exception=None,
                )  # fmt: skip
                model.new_result(job)
            running = [running[index] for index in np.argsort(results)[::-1]]


def _hyperparameter(ConfigSpace: Any, name: str, distribution: BaseDistribution) -> Any:
    kind = ConfigSpace.Integer if isinstance(distribution, IntDistribution) else ConfigSpace.Float
    return kind(name, (distribution.low, distribution.high), log=distribution.log)  # type: ignore[attr-defined]


def _suggest(trial: optuna.Trial, space: Space) -> Params:
    params = {}
    for name, distribution in space.items():
        suggest = trial.suggest_int if isinstance(distribution, IntDistribution) else trial.suggest_float
        params[name] = suggest(name, distribution.low, distribution.high, log=distribution.log)  # type: ignore
    return params


def _random(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


def _tpe(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.TPESampler(seed=seed)


METHODS: dict[str, Callable[[Laboratory, int], None]] = {
    OURS: ours,
    "random": lambda laboratory, seed: optuna_alone(laboratory, _random(seed), optuna.pruners.NopPruner()),
    "Optuna: TPE + median": lambda laboratory, seed: optuna_alone(
        laboratory, _tpe(seed), optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2)
    ),
    "Optuna: TPE + hyperband": lambda laboratory, seed: optuna_alone(
        laboratory, _tpe(seed), optuna.pruners.HyperbandPruner(2, laboratory.epochs, 3)
    ),
    "Optuna: TPE + halving": lambda laboratory, seed: optuna_alone(
        laboratory, _tpe(seed), optuna.pruners.SuccessiveHalvingPruner(2, 3)
    ),
    "Optuna: random + halving": lambda laboratory, seed: optuna_alone(
        laboratory, _random(seed), optuna.pruners.SuccessiveHalvingPruner(2, 3)
    ),
    "Tune: ASHA + OptunaSearch": tune,
    "Tune: the same, our rungs": lambda laboratory, seed: tune(laboratory, seed, grace_period=2, reduction_factor=3),
    "BOHB (hpbandster)": bohb,
}
