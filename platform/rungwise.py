"""The sampler of a search that halves: Optuna's TPE on values of the same epoch."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Container, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

MIN_RESULTS = 10  # of a rung before it is learned from
RANDOM_SHARE = 0.2  # of the trials, so that no corner stays unseen for good


class RungwiseSampler(BaseSampler):
    """Optuna's tree-structured Parzen estimator, learning from one rung of successive halving at a time.

    Under halving most trials have a value at an early rung only. TPE as shipped ranks them below every trial that got
    further, whatever their promise, and so stays near its survivors. Here all values that it compares are of the same
    epoch: that of the highest rung which `MIN_RESULTS` trials have reached. Trials without a value there, still running
    or ended because they could not train, count as bad. Until there is such a rung, points are random.
    """

    def __init__(self, rungs: Sequence[int], *, seed: int) -> None:
        """A sampler that learns from `rungs` (epochs, rising), the last of them the end of a training."""
        self._rungs = tuple(rungs)
        self._seeds = np.random.default_rng(seed)
        self._random = RandomSampler(seed=self._seed())
        self._tpe = _parzen_estimator(self._seed())
        self._results: optuna.Study | None = None

    def reseed_rng(self) -> None:
        self._seeds = np.random.default_rng()
        self._random.reseed_rng()
        self._tpe.reseed_rng()

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        explores = self._seeds.random() < RANDOM_SHARE
        self._results = None if explores else self._of_highest_rung(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._tpe.infer_relative_search_space(self._results, trial) if self._results else {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._tpe.sample_relative(self._results, trial, search_space) if self._results else {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        if self._results:
            return self._tpe.sample_independent(self._results, trial, param_name, param_distribution)
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _seed(self) -> int:
        return int(self._seeds.integers(2**31))

    def _of_highest_rung(self, study: optuna.Study, asking: FrozenTrial) -> optuna.Study | None:
        """A study in memory of the values at the highest rung with enough of them; None while there is none."""
        states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
        trials = [trial for trial in study.get_trials(deepcopy=False, states=states) if trial.number != asking.number]
        for rung in reversed(self._rungs):
            values = {trial.number: value for trial in trials if (value := _value_at(trial, rung)) is not None}
            if len(values) >= MIN_RESULTS:
                break
        else:
            return None
        told = [_as_told(trial, values) for trial in trials if trial.number in values or _counts_as_bad(trial)]
        return optuna.create_study(direction=study.direction, storage=_Results(told))


class _Results(InMemoryStorage):
    """The storage of a study whose trials are given. Optuna's own copies each, longer than the estimator takes."""

    def __init__(self, trials: list[FrozenTrial]) -> None:
        super().__init__()
        self._given = trials

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        return [trial for trial in self._given if states is None or trial.state in states]


def _as_told(trial: FrozenTrial, values: dict[int, float]) -> FrozenTrial:
    """`trial` as it stands in the study of a rung; TPE ranks a pruned trial without a value below all others."""
    told = copy.copy(trial)
    told.intermediate_values, told.system_attrs = {}, {}
    told.state = TrialState.COMPLETE if trial.number in values else TrialState.PRUNED
    told.value = values.get(trial.number)
    return told


def _value_at(trial: FrozenTrial, rung: int) -> float | None:
    """The value of `trial` at epoch `rung`, or at its end where it was trained for fewer epochs."""
    value = trial.intermediate_values.get(rung)
    if value is None and trial.state == TrialState.COMPLETE:
        return trial.value
    return value


def _counts_as_bad(trial: FrozenTrial) -> bool:
    """Whether `trial` is still running, or ended with a reason of its own and not because the pruner said so."""
    return trial.state == TrialState.RUNNING or (
        trial.state == TrialState.PRUNED and "pruned_at" not in trial.user_attrs
    )


def _parzen_estimator(seed: int) -> TPESampler:
    with warnings.catch_warnings():
        # Before version 5 the multivariate form, which is the default now, is announced as experimental.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(seed=seed, multivariate=True, constant_liar=False, n_startup_trials=0)
