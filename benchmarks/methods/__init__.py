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
class Entry:
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
    OURS: Entry("ours:Ours", "threadpoolctl"),
    "random": Entry("with_optuna:random_search", "optuna"),
    "Optuna: TPE + median": Entry("with_optuna:tpe_median", "optuna"),
    "Optuna: TPE + hyperband": Entry("with_optuna:tpe_hyperband", "optuna"),
    "Optuna: TPE + halving": Entry("with_optuna:tpe_halving", "optuna"),
    "Optuna: random + halving": Entry("with_optuna:random_halving", "optuna"),
    "Tune: ASHA + OptunaSearch": Entry("with_tune:Tune", "ray"),
    "Tune: the same, our rungs": Entry("with_tune:Tune", "ray", {"grace_period": 2, "reduction_factor": 3}),
    "Syne Tune: ASHA + promotion": Entry("with_syne_tune:SyneTune", "syne_tune", {"scheduler": "ASHA"}),
    "Syne Tune: MOBSTER": Entry("with_syne_tune:SyneTune", "syne_tune", {"scheduler": "MOBSTER"}),
    "BOHB (hpbandster)": Entry("hyperband:bohb", "hpbandster", is_parallel=False),
    "DEHB": Entry("hyperband:dehb", "dehb", is_parallel=False),
    "SMAC": Entry("hyperband:smac", "smac", is_parallel=False),
}
