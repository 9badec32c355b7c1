"""What every trial of a search trains on, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from platform.resources import TrialResources
from platform.samplers.pruning import rungs_of
from platform.spaces.loading import Space
from shards_tools.manifest import Manifest
from shards_tools.plugins import accepts_changed_code, shipped_plugins
from trainables.recipes.recipe import Recipe
from trainables.recipes.settings import settings_of


@dataclass(frozen=True, kw_only=True)
class TrainingSetup:
    """The settings that all trainings of a search share."""

    space: Space
    scale: str
    manifest: Manifest
    fold: int  # to validate on
    seed: int
    reading: str  # how trials read their images; "auto": depends on the machine
    epochs: int | None  # None: those of each recipe
    plugins: tuple[str, ...] = ()  # the user's own code; see shards_tools/plugins.py

    @property
    def data(self) -> str:
        """The address of the shards."""
        return str(self.manifest.store)

    @property
    def longest_epochs(self) -> int:
        """The number of epochs of the longest training that this search may start."""
        return self.epochs or self.space.longest_epochs

    @property
    def rungs(self) -> list[int]:
        """The epochs at which halving compares trials; see `rungs_of`."""
        return rungs_of(self.longest_epochs, self.space.longest_warmup)

    @property
    def train_size(self) -> tuple[int, int]:
        """The numbers of works and of images in the training split."""
        return self.manifest.train_size(self.fold)

    def recipe(self, trial: Any) -> Recipe:
        """Return the recipe that a trial trains."""
        return self.space.recipe(trial, self.epochs)

    def config(self, recipe: Recipe, resources: TrialResources) -> dict[str, Any]:
        """Return the configuration that a trial's process receives; see `run_trial`."""
        return {
            "recipe": recipe.name,
            "settings": settings_of(recipe),
            "data": self.data,
            "fingerprint": self.manifest.fingerprint,
            "fold": self.fold,
            "test_fold": self.manifest.test_fold,
            "trained_on": list(self.manifest.trained_on),
            "seed": self.seed,
            "num_threads": resources.cpus_per_rank,
            "gpu_fraction": resources.gpus_per_rank,
            "reading": self.reading,
            "ranks": resources.ranks_per_trial,
            "plugins": shipped_plugins(self.plugins),
            "accept_changed_code": accepts_changed_code(),
        }
