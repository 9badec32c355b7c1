"""The plan of a search: its configuration with all values that depend on the data, the space and the machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from platform.spaces.loading import Space
from shards_tools.manifest import Manifest
from shards_tools.plugins import accepts_changed_code, shipped_plugins
from trainables.recipes.recipe import Recipe
from trainables.recipes.settings import settings_of


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The resolved options of one search."""

    study: str
    command: str  # as it was typed or called
    plugins: tuple[str, ...] = ()  # the user's own code; see shards_tools/plugins.py
    space: Space
    scale: str
    data: str  # address of the shards
    manifest: Manifest
    fold: int  # to validate on
    objectives: tuple[str, ...]  # one, or several; the first decides which trial is best
    at_most: dict[str, float]  # cost -> its limit
    warm_start: str | None  # the study whose best settings this one starts with
    warm_start_storage: str | None  # where that study is; None: in this one's storage
    seed: int
    reading: str  # how trials read their images; "auto": depends on the machine
    epochs: int | None  # None: those of each recipe
    trials: int
    hours: float | None  # None: no limit
    gpu_hours: float | None  # of the whole study; None: no limit
    target: float | None  # value of the objective from which on no trial is started
    patience: int | None  # finished trials without an improvement
    sampler: str
    pruner: str
    concurrency: int
    why_concurrency: str = ""  # the explanation, if --concurrency auto chose it
    ranks_per_trial: int = 1  # processes that train one model together
    cpus_per_rank: int
    gpus_per_rank: float
    memory_per_rank: int = 0  # bytes that Ray reserves on a node; 0: none
    runs: Path
    checkpoints: str | None = None  # address of a folder in a bucket; None: under `runs`
    storage: str
    tracking: str
    chance: dict[str, float]
    folds: int = 1  # folds that the best trials are trained on, including the search's own
    finalists: int | None = None  # trials that are evaluated on the test split; None: it is not read
    final_seeds: int = 3  # seeds that each finalist is trained with

    @property
    def objective(self) -> str:
        """The first objective, which decides which trial is best."""
        return self.objectives[0]

    @property
    def longest_epochs(self) -> int:
        """The number of epochs of the longest training that this search may start."""
        return self.epochs or self.space.longest_epochs

    @property
    def num_train_works(self) -> int:
        """The number of works in the training split."""
        return len(np.unique(self.manifest.work[self.manifest.split(self.fold).train]))

    @property
    def cpus_per_trial(self) -> int:
        """The CPUs that a running trial holds."""
        return self.ranks_per_trial * self.cpus_per_rank

    @property
    def gpus_per_trial(self) -> float:
        """The GPUs that a running trial holds."""
        return self.ranks_per_trial * self.gpus_per_rank

    @property
    def folder(self) -> Path:
        """The folder of this study's journal, its lock and, without a bucket, its checkpoints."""
        return self.runs / self.study

    def config(self, recipe: Recipe) -> dict[str, Any]:
        """Return the configuration that a trial's process receives; see `run_trial`."""
        return {
            "recipe": recipe.name,
            "settings": settings_of(recipe),
            "data": self.data,
            "fold": self.fold,
            "test_fold": self.manifest.test_fold,
            "seed": self.seed,
            "num_threads": self.cpus_per_rank,
            "gpu_fraction": self.gpus_per_rank,
            "reading": self.reading,
            "ranks": self.ranks_per_trial,
            "plugins": shipped_plugins(self.plugins),
            "accept_changed_code": accepts_changed_code(),
        }

    def identity(self) -> dict[str, Any]:
        """Return the options that all starts of a study must share, keyed by option name; a value may be None."""
        return {
            "space": self.space.name,
            "data": self.manifest.fingerprint,
            "fold": self.fold,
            "scale": self.scale,
            "epochs": self.longest_epochs,
            "objective": " ".join(self.objectives),
            "seed": self.seed,
            "reading": self.reading,
            "sampler": self.sampler,
            "pruner": self.pruner,
            "at-most": " ".join(f"{name}={most:.12g}" for name, most in self.at_most.items()) or None,
            "warm-start": self.warm_start,
        }
