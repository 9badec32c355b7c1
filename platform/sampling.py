"""Which settings are tried next: Optuna's sampler, seeded so that an interruption leaves no trace."""

from __future__ import annotations

import numpy as np
import optuna
from optuna.trial import TrialState


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
