"""Parameters of a laboratory's space, as Optuna and ConfigSpace suggest them."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import IntDistribution

from benchmarks.laboratory import Params, Space


def suggest(trial: optuna.Trial, space: Space) -> Params:
    """Return the parameters that Optuna suggests for a trial."""
    params = {}
    for name, distribution in space.items():
        ask = trial.suggest_int if isinstance(distribution, IntDistribution) else trial.suggest_float
        params[name] = ask(name, distribution.low, distribution.high, log=distribution.log)  # type: ignore
    return params


def config_space(space: Space, seed: int) -> Any:
    """Return the space as one of ConfigSpace's."""
    import ConfigSpace

    found = ConfigSpace.ConfigurationSpace(seed=seed)
    for name, distribution in space.items():
        kind = ConfigSpace.Integer if isinstance(distribution, IntDistribution) else ConfigSpace.Float
        bounds = (distribution.low, distribution.high)  # type: ignore[attr-defined]
        found.add(kind(name, bounds, log=distribution.log))  # type: ignore[attr-defined]
    return found
