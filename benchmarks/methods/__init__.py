"""The search methods that `benchmarks/search.py` compares.

They use the packages' own samplers, pruners and schedulers, called without a cluster. Some packages need versions of
others that ours does not accept, so a method's module is only imported where it runs.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass, field
from typing import Any

from benchmarks.laboratory import Method, Space


@dataclass(frozen=True)
class Listed:
    """A method of the registry.

    Args:
        factory: "module:name" in this package, called with the space, the epochs of a full training and the seed.
        package: that it needs.
        options: further arguments of the factory.
        is_parallel: whether several workers can share one search.
    """

    factory: str
    package: str
    options: dict[str, Any] = field(default_factory=dict)
    is_parallel: bool = True

    def make(self, space: Space, epochs: int, seed: int) -> Method:
        """Return the method for one search."""
        module, _, name = self.factory.partition(":")
        factory = getattr(importlib.import_module(f"benchmarks.methods.{module}"), name)
        method: Method = factory(space, epochs, seed, **self.options)
        return method

    @property
    def is_here(self) -> bool:
        """Whether this Python has the package."""
        return importlib.util.find_spec(self.package) is not None


OURS = "Sakuga"
METHODS = {
    OURS: Listed("ours:Ours", "threadpoolctl"),
    "random": Listed("with_optuna:of_random", "optuna"),
    "Optuna: TPE + median": Listed("with_optuna:tpe_median", "optuna"),
    "Optuna: TPE + hyperband": Listed("with_optuna:tpe_hyperband", "optuna"),
    "Optuna: TPE + halving": Listed("with_optuna:tpe_halving", "optuna"),
    "Optuna: random + halving": Listed("with_optuna:random_halving", "optuna"),
    "Tune: ASHA + OptunaSearch": Listed("with_tune:Tune", "ray"),
    "Tune: the same, our rungs": Listed("with_tune:Tune", "ray", {"grace_period": 2, "reduction_factor": 3}),
    "Syne Tune: ASHA + promotion": Listed("with_syne_tune:SyneTune", "syne_tune", {"scheduler": "ASHA"}),
    "Syne Tune: MOBSTER": Listed("with_syne_tune:SyneTune", "syne_tune", {"scheduler": "MOBSTER"}),
    "BOHB (hpbandster)": Listed("hyperband:bohb", "hpbandster", is_parallel=False),
    "DEHB": Listed("hyperband:dehb", "dehb", is_parallel=False),
    "SMAC": Listed("hyperband:smac", "smac", is_parallel=False),
}
