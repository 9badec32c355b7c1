"""The plan of a search: its configuration, resolved against the data, the space and the machine."""

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
    """One search, in full."""

    study: str
    command: str  # what was typed or called
    plugins: tuple[str, ...] = ()  # the user's own code; see shards_tools/plugins.py
    space: Space
    scale: str
    data: str  # address of the shards
    manifest: Manifest
    fold: int  # to validate on
    objectives: tuple[str, ...]  # one, or several: the first says which trial is best
    at_most: dict[str, float]  # cost -> the most that a trial may take of it
    warm_start: str | None  # the study whose best settings this one begins with
    warm_start_storage: str | None  # where that study is; None: in this one's storage
    seed: int
    reading: str  # how trials read their images; "auto": each as its machine allows
    epochs: int | None  # None: what each recipe says
    trials: int
    hours: float | None  # None: no limit
    gpu_hours: float | None  # of the whole study; None: no limit
    target: float | None  # of the objective, from which on no trial is started
    patience: int | None  # finished trials without a better one
    sampler: str
    pruner: str
    concurrency: int
    why_concurrency: str = ""  # in words, where --concurrency auto has chosen it
    ranks_per_trial: int = 1  # processes that train one model together
    cpus_per_rank: int
    gpus_per_rank: float
    memory_per_rank: int = 0  # bytes that Ray sets aside on a node; 0: none
    runs: Path
    checkpoints: str | None = None  # address of a folder of a bucket; None: they lie under `runs`
    storage: str
    tracking: str
    chance: dict[str, float]
    folds: int = 1  # that the best trials are trained on, the search's own among them
    finalists: int | None = None  # that are evaluated on the test split; None: it stays locked
    final_seeds: int = 3  # that each finalist is trained with

    @property
    def objective(self) -> str:
        """The first objective, which says which trial is best."""
        return self.objectives[0]

    @property
    def longest_epochs(self) -> int:
        """The epochs of the longest training that this search may start."""
        return self.epochs or self.space.longest_epochs

    @property
    def num_train_works(self) -> int:
        """How many works there are to train on."""
        return len(np.unique(self.manifest.work[self.manifest.split(self.fold).train]))

    @property
    def cpus_per_trial(self) -> int:
        """That one holds while it runs."""
        return self.ranks_per_trial * self.cpus_per_rank

    @property
    def gpus_per_trial(self) -> float:
        """That one holds while it runs."""
        return self.ranks_per_trial * self.gpus_per_rank

    @property
    def folder(self) -> Path:
        """Where this study keeps its journal, its lock and, without a bucket, its checkpoints."""
        return self.runs / self.study

    def config(self, recipe: Recipe) -> dict[str, Any]:
        """What the process of a trial is told of its training; see `run_trial`."""
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
        """What makes two starts the same search; each entry is named as the option that sets it, and may be None."""
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
