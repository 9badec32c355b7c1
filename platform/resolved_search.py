"""A search whose configuration was resolved with the data, the space and the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from platform.budgets import Budget
from platform.objectives import Goal
from platform.protocol import EvaluationProtocol
from platform.resources import TrialResources
from platform.samplers.registry import SearchMethod
from platform.stores import Stores
from platform.training_setup import TrainingSetup


@dataclass(frozen=True, kw_only=True)
class ResolvedSearch:
    """The parts of one search. Only the main path holds all of them; other code takes the parts that it needs."""

    command: str  # as it was typed or called
    setup: TrainingSetup
    goal: Goal
    budget: Budget
    method: SearchMethod
    resources: TrialResources
    stores: Stores
    protocol: EvaluationProtocol

    def identity(self) -> dict[str, Any]:
        """Return the options that all starts of a study must share, keyed by option name; a value may be None."""
        return {
            "space": self.setup.space.name,
            "data": self.setup.manifest.fingerprint,
            "fold": self.setup.fold,
            "scale": self.setup.scale,
            "epochs": self.setup.longest_epochs,
            "objective": " ".join(self.goal.objectives),
            "seed": self.setup.seed,
            "reading": self.setup.reading,
            "sampler": self.method.sampler,
            "pruner": self.method.pruner,
            "at-most": self.goal.limits or None,
            "warm-start": self.method.warm_start,
        }
