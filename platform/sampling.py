"""Optuna as Tune's searcher: the study is asked for every trial, and told how each ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.trial import TrialState
from ray.tune.search import Searcher

if TYPE_CHECKING:
    from platform.trials import Trials


def reseed(study: optuna.Study, seed: int, number: int | None = None) -> None:
    """Give the study a sampler seeded from (seed, number of the next trial).

    A study that was interrupted then draws what the undisturbed one would have drawn. TPE in Optuna's defaults:
    multivariate, with trials that run counted as bad ones.
    """
    if number is None:
        trials = study.get_trials(deepcopy=False)
        waiting = [trial.number for trial in trials if trial.state == TrialState.WAITING]
        number = min(waiting, default=len(trials))
    sampler_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    study.sampler = optuna.samplers.TPESampler(seed=sampler_seed)


class StudySearcher(Searcher):
    """What Tune asks for trials. It keeps nothing: the study does."""

    def __init__(self, trials: Trials) -> None:
        super().__init__()
        self._trials = trials

    def suggest(self, trial_id: str) -> Any:
        """The next attempt's config, None where there is none now, FINISHED where there will be none."""
        if self._trials.done:
            return Searcher.FINISHED
        return self._trials.start(trial_id)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self._trials.finish(trial_id, died=error)

    def save(self, checkpoint_path: str) -> None:
        """Tune asks for a file; nothing is ever read from it."""
        open(checkpoint_path, "wb").close()

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("A study is gone on with by a fresh Tuner, never by Tune's own snapshot.")

    def __getstate__(self) -> dict[str, Any]:
        return {}
