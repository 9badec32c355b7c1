"""The sampler `rungwise`: Bayesian optimization on the values at one rung of successive halving."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from scipy.special import ndtr
from threadpoolctl import ThreadpoolController

from platform.samplers.gaussian_process import Array, GaussianProcess
from platform.samplers.observations import Observations, Observer, Result, point_key
from platform.spaces.points import Axes, Point, Suggest, accepts, sample
from platform.trial_record import TrialRecord

MIN_RESULTS = 10  # trials that must have reached a rung before the sampler learns from it
RANDOM_SHARE = 0.2  # of the trials, so that every part of the space is explored eventually
MOST_RESULTS = 100  # to learn from: the best and the latest; the fit takes time cubic in their number
NUM_ANYWHERE = 500  # random candidates
NUM_NEAR = 30  # candidates near each of the best trials, for each spread
NUM_BEST = 5
SPREADS = (0.05, 0.15)  # standard deviations, as fractions of a parameter's range
SMALLEST_SD = 1e-6  # of the results; useless trials are placed one standard deviation below the worst result
MOST_REPEATS = 100  # known points sampled in a row before one is tried again: the space is nearly exhausted

BLAS = ThreadpoolController()  # limits the threads of the libraries imported above

# Of each study and its rungs, because every trial has a sampler of its own.
_OBSERVERS: WeakKeyDictionary[optuna.Study, dict[tuple[int, ...], Observer]] = WeakKeyDictionary()


class RungwiseSampler(BaseSampler):
    """An Optuna sampler that maximizes expected improvement, with a Gaussian process fitted to one rung at a time.

    - It compares values of the same epoch: the highest rung that at least `MIN_RESULTS` trials have reached.
    - Trials that diverged or exceeded a limit rank below every other trial.
    - Running trials are imputed with their posterior mean (kriging believer), so that parallel suggestions differ.
    - Until enough trials have reached a rung, and for `RANDOM_SHARE` of all trials, it samples at random.
    - It does not suggest a point twice unless the space is nearly exhausted.

    Expected improvement is equation 15 of Jones et al. 1998; the kriging believer is from Ginsbourger et al. 2010.

    Args:
        suggest: a function that asks a trial for the parameters of the space.
        rungs: in epochs, ascending; the last one is the end of a training.
    """

    def __init__(self, suggest: Suggest, rungs: Sequence[int], *, seed: int) -> None:
        self._suggest, self._rungs = suggest, tuple(rungs)
        self._rng = np.random.default_rng(seed)
        self._independent = RandomSampler(seed=seed)
        self._point: Point | None = None

    def reseed_rng(self) -> None:
        self._rng = np.random.default_rng()
        self._independent.reseed_rng()

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        has_params = "fixed_params" in trial.system_attrs or TrialRecord(trial).settings  # an earlier start trained it
        self._point = None if has_params else self._next(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self._point.distributions) if self._point else {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return dict(self._point.params) if self._point else {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._independent.sample_independent(study, trial, param_name, param_distribution)

    def _next(self, study: optuna.Study, asking: FrozenTrial) -> Point:
        observer = _OBSERVERS.setdefault(study, {}).setdefault(self._rungs, Observer(self._rungs))
        observed = observer.observe(study.get_trials(deepcopy=False), without=asking.number)
        rung = self._highest_rung(observed)
        learns = self._rng.random() >= RANDOM_SHARE
        promising = self._promising(study, observed, rung) if rung is not None and learns else []
        for point in itertools.chain(promising, (self._draw() for _ in range(MOST_REPEATS))):
            if point_key(point.params) not in observed.points:
                break
        return point

    def _promising(self, study: optuna.Study, observed: Observations, rung: int) -> list[Point]:
        """Return candidates sorted by their expected improvement at `rung`, the highest first."""
        sign = 1.0 if study.direction == StudyDirection.MAXIMIZE else -1.0
        results = _select_results([(trial, sign * value) for trial, value in observed.results[rung]])
        candidates = list(self._candidates(results))
        # More threads are no faster on small matrices, and would take CPU time from trainings.
        with BLAS.limit(limits=1):
            order = np.argsort(-_improvement(results, observed, candidates), kind="stable")
        return [candidates[index] for index in order]

    def _draw(self) -> Point:
        """Return a random point; an empty one, which Optuna completes at random, if the space rejects nearly all."""
        return sample(self._suggest, self._rng) or Point(self._rng)

    def _highest_rung(self, observed: Observations) -> int | None:
        """Return the highest rung that enough trials have reached, or None; useless trials count for the lowest."""
        for rung in reversed(self._rungs):
            num_results = len(observed.results[rung])
            more = len(observed.useless) if rung == self._rungs[0] and num_results else 0
            if num_results + more >= MIN_RESULTS:
                return rung
        return None

    def _candidates(self, results: Sequence[Result]) -> Iterator[Point]:
        anywhere = (Point(self._rng) for _ in range(NUM_ANYWHERE))
        near = (
            Point(self._rng, trial.params, spread)
            for trial, _ in _best_first(results)[:NUM_BEST]
            for spread in SPREADS
            for _ in range(NUM_NEAR)
        )
        return (point for point in itertools.chain(anywhere, near) if accepts(self._suggest, point))


def _improvement(results: Sequence[Result], observed: Observations, candidates: Sequence[Point]) -> Array:
    """Return the expected improvement of each candidate over the best result."""
    useless = [trial.params for trial in observed.useless[-MOST_RESULTS:]]
    known = [*[trial.params for trial, _ in results], *useless]
    axes = Axes(_distributions([*[trial for trial, _ in results], *candidates]))
    values = _clip_outliers(np.array([value for _, value in results]))
    values = np.array([*values, *[values.min() - max(values.std(), SMALLEST_SD)] * len(useless)])
    process = GaussianProcess(axes.rows(known), values, axes.starts)
    if observed.running:
        rows = axes.rows(observed.running)
        believed = [*values, *process.predict(rows)[0]]
        process = GaussianProcess(
            axes.rows([*known, *observed.running]),
            np.array(believed),
            axes.starts,
            hyperparameters=process.hyperparameters,
        )
    means, sds = process.predict(axes.rows([candidate.params for candidate in candidates]))
    above = (means - values.max()) / sds
    improvement: Array = sds * (above * ndtr(above) + np.exp(-(above**2) / 2) / math.sqrt(2 * math.pi))
    return improvement


def _distributions(points: Iterable[FrozenTrial | Point]) -> dict[str, BaseDistribution]:
    return {name: distribution for point in points for name, distribution in point.distributions.items()}


def _clip_outliers(values: Array) -> Array:
    """Subtract the median of the values and raise outliers to a floor of twice the 10 % quantile.

    Very low values would distort the fit among the good ones.
    """
    centered = values - np.median(values)
    return np.maximum(centered, 2 * min(np.quantile(centered, 0.1), 0.0))


def _select_results(results: list[Result]) -> list[Result]:
    """Return at most `MOST_RESULTS` results in their order: half are the best, half the latest of the rest."""
    if len(results) <= MOST_RESULTS:
        return results
    half = MOST_RESULTS // 2
    best = {trial.number for trial, _ in _best_first(results)[:half]}
    latest = [trial.number for trial, _ in results if trial.number not in best][-half:]
    return [result for result in results if result[0].number in best.union(latest)]


def _best_first(results: Sequence[Result]) -> list[Result]:
    return sorted(results, key=lambda result: -result[1])
