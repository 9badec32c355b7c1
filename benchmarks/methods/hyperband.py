"""Methods that train several settings to one budget before they go on: BOHB, DEHB and SMAC.

A training that gets more epochs later continues where it stopped. The budgets are close to our rungs: 2, 6, 17
and 52 of 52 epochs.
"""

from __future__ import annotations

import logging
import math
import tempfile
import types
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.laboratory import Job, Params, Space
from benchmarks.methods.params import config_space

ETA, SHORTEST = 3, 2  # the ratio of budgets, and about the least one in epochs

Trainings = Generator[tuple[Job, int], float, None]  # yields a job and the epoch where it stops; gets the value there


class Sequential:
    """A method that trains one setting at a time."""

    def __init__(self, trainings: Trainings) -> None:
        self._trainings = trainings
        self._wanted: tuple[Job, int] | None = next(trainings)
        self._last_epoch = 0

    def next_job(self) -> Job | None:
        if self._wanted is None:
            return None
        (job, self._last_epoch), self._wanted = self._wanted, None
        return job

    def report(self, trial: int, epoch: int, value: float) -> bool:
        if epoch == self._last_epoch:
            self._wanted = self._trainings.send(value)
        return epoch != self._last_epoch


class StartedTrainings:
    """The trainings so far, by their settings and the epochs that they have."""

    def __init__(self) -> None:
        self._jobs: dict[tuple[Any, ...], tuple[Job, int]] = {}
        self._num_jobs = 0

    def job(self, params: Params, budget: int) -> Job:
        """Return the training with these settings that has fewer epochs, or a new one."""
        key = tuple(params.items())
        known, epochs = self._jobs.get(key, (None, 0))
        if known is None or epochs >= budget:
            known = Job(self._num_jobs, params)
            self._num_jobs += 1
        self._jobs[key] = known, budget
        return known


def bohb(space: Space, epochs: int, seed: int) -> Sequential:
    """Return hpbandster's model and default synchronous Hyperband.

    Falkner et al. 2018; the brackets are those of `hpbandster.optimizers.BOHB.get_next_iteration`.
    """
    return Sequential(_bohb(space, epochs, seed))


def _bohb(space: Space, epochs: int, seed: int) -> Trainings:
    from hpbandster.optimizers.config_generators.bohb import BOHB

    num_rungs = 1 + round(math.log(epochs / SHORTEST) / math.log(ETA))
    budgets = [round(epochs / ETA**number) for number in reversed(range(num_rungs))]
    np.random.seed(seed)  # hpbandster uses numpy's global random state
    warnings.simplefilter("ignore")  # hpbandster uses deprecated names of ConfigSpace
    model = BOHB(config_space(space, seed))
    started = StartedTrainings()
    bracket = 0
    while True:
        depth = num_rungs - 1 - bracket % num_rungs
        bracket += 1
        first = int(num_rungs / (depth + 1)) * ETA**depth
        running: list[Params] = []
        for number, budget in enumerate(budgets[-depth - 1 :]):
            results = []
            for index in range(max(int(first * ETA**-number), 1)):
                if number == 0:
                    running.append(dict(model.get_config(budget)[0]))
                value = yield started.job(running[index], budget), budget
                results.append(value)
                job = types.SimpleNamespace(
                    id=(bracket, 0, index), result={"loss": -value}, exception=None,
                    kwargs={"budget": budget, "config": running[index]},
                )  # fmt: skip
                model.new_result(job)
            running = [running[index] for index in np.argsort(results)[::-1]]


def dehb(space: Space, epochs: int, seed: int) -> Sequential:
    """Return differential evolution with Hyperband, Awad et al. 2021."""
    return Sequential(_dehb(space, epochs, seed))


def _dehb(space: Space, epochs: int, seed: int) -> Trainings:
    from dehb import DEHB
    from loguru import logger

    logger.disable("dehb")
    started = StartedTrainings()
    with tempfile.TemporaryDirectory() as folder:
        of_dehb = DEHB(
            cs=config_space(space, seed), min_fidelity=SHORTEST, max_fidelity=epochs, eta=ETA, n_workers=1, seed=seed,
            output_path=folder, save_freq="end",
        )  # fmt: skip
        while True:
            job = of_dehb.ask()
            budget = round(job["fidelity"])
            value = yield started.job(dict(job["config"]), budget), budget
            of_dehb.tell(job, {"fitness": -value, "cost": budget})


def smac(space: Space, epochs: int, seed: int) -> Sequential:
    """Return SMAC3's multi-fidelity facade: random forests with Hyperband, Lindauer et al. 2022."""
    return Sequential(_smac(space, epochs, seed))


def _smac(space: Space, epochs: int, seed: int) -> Trainings:
    from smac import MultiFidelityFacade, Scenario
    from smac.runhistory import TrialValue

    def never_called(config: Any, seed: int, budget: float) -> float:
        raise NotImplementedError  # the facade wants a function, but we call ask and tell

    logging.disable(logging.WARNING)
    started = StartedTrainings()
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(
            config_space(space, seed), deterministic=True, n_trials=100_000, min_budget=SHORTEST, max_budget=epochs,
            seed=seed, output_directory=Path(folder),
        )  # fmt: skip
        intensifier = MultiFidelityFacade.get_intensifier(scenario, eta=ETA)
        facade = MultiFidelityFacade(scenario, never_called, intensifier=intensifier, logging_level=False)
        while True:
            info = facade.ask()
            budget = round(info.budget)
            value = yield started.job(dict(info.config), budget), budget
            facade.tell(info, TrialValue(cost=-value))
