"""The plan of a search: everything that the arguments, the data and the space settle before anything is started."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from platform.addresses import checked_bucket, checked_runs, checked_tracking, refuse_password
from platform.objectives import check_names, objectives_of, sampler_and_pruner
from platform.protocol import checked_folds, checked_seeds, refuse_several_objectives, with_test_fold
from platform.resources import Machine, resources, this_machine
from platform.spaces.constraints import check_reachable, limits_of
from platform.spaces.grid import num_points
from platform.spaces.loading import Space, load_space
from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from shards_tools.manifest_file import read_manifest
from shards_tools.sample import sample_set
from shards_tools.verify import verify_shards
from trainables.evaluation import Evaluation
from trainables.recipes.recipe import Recipe
from trainables.recipes.settings import settings_of

DEFAULT_TRIALS = {"paper": 60, "tiny": 24}
SEARCH_FOLD = 0  # of five-fold data; a plain tree has one split


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One search, in full."""

    study: str
    space: Space
    scale: str
    data: str  # address of the shards
    manifest: Manifest
    fold: int  # the one that validates
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
        """What is maximised; of several objectives the first."""
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


def make_plan(options: argparse.Namespace, nodes: Sequence[Machine] = ()) -> Plan:
    """The plan that the command line asks for; Error for the first thing in it that cannot be done.

    Args:
        nodes: of the cluster that the trials run on; empty: they run on this machine.
    """
    check_names(options.objective)
    refuse_several_objectives(options.objective, options.folds, options.finalists)
    sampler, pruner = sampler_and_pruner(options.sampler, options.pruner, len(options.objective))
    machines = nodes or [this_machine()]
    num_gpus = int(sum(machine.gpus for machine in machines))
    at_most = limits_of(options.at_most, num_gpus)
    scale = options.scale if options.scale != "auto" else ("paper" if num_gpus else "tiny")
    space = load_space(options.space, scale)
    data = options.data or sample_set()
    refuse_password(data)
    manifest = with_test_fold(read_manifest(data), options.finalists)
    if space.reads_tags and manifest.tags is None:
        raise Error(f"--space {options.space} reads tags, and {manifest.store} has none. Build shards of dafull.")
    # Every byte of a local set is looked at; of a remote one each image is, when it arrives.
    verify_shards(manifest, "full" if manifest.store.is_local else "quick")
    evaluation = Evaluation(manifest, "val", SEARCH_FOLD)
    chance = evaluation.chance()
    check_reachable(at_most, space)
    runs = checked_runs(options.runs)
    concurrency, cpus, gpus = resources(options, scale, machines)
    return Plan(
        study=_study_name(options, f"{space.name}-{manifest.fingerprint[:8]}-{scale}"),
        space=space,
        scale=scale,
        data=str(manifest.store),
        manifest=manifest,
        fold=SEARCH_FOLD,
        objectives=objectives_of(options.objective, evaluation, num_gpus),
        at_most=at_most,
        warm_start=options.warm_start,
        warm_start_storage=options.warm_start_storage,
        seed=options.seed,
        reading=options.reading,
        epochs=options.epochs,
        trials=_num_trials(options, space, scale),
        hours=options.hours,
        gpu_hours=_gpu_hours(options, gpus),
        target=_target(options),
        patience=options.patience,
        sampler=sampler,
        pruner=pruner,
        concurrency=concurrency,
        ranks_per_trial=options.ranks_per_trial,
        cpus_per_rank=cpus,
        gpus_per_rank=gpus,
        runs=runs,
        checkpoints=checked_bucket(options.checkpoints),
        storage=options.storage or f"sqlite:///{runs / 'optuna.db'}",
        tracking=checked_tracking(options.tracking or f"sqlite:///{runs / 'mlflow.db'}"),
        chance=chance,
        folds=checked_folds(options.folds, manifest),
        finalists=options.finalists,
        final_seeds=checked_seeds(options.final_seeds),
    )


def _gpu_hours(options: argparse.Namespace, gpus: float) -> float | None:
    if options.gpu_hours and not gpus:
        raise Error(f"--gpu-hours {options.gpu_hours:g}: trials of this search have no GPU. Use --hours.")
    hours: float | None = options.gpu_hours
    return hours


def _target(options: argparse.Namespace) -> float | None:
    target: float | None = options.target
    if target is not None and not 0 < target <= 1:  # NaN too
        raise Error(f"--target {target:g} is no value of the objective. Give a fraction above 0 and up to 1.")
    return target


def _num_trials(options: argparse.Namespace, space: Space, scale: str) -> int:
    """As many as asked for; of a grid no more than its points and the rows by hand."""
    asked = options.trials or DEFAULT_TRIALS[scale]
    return min(asked, len(space.baselines) + num_points(space)) if options.sampler == "grid" else asked


def _study_name(options: argparse.Namespace, usual: str) -> str:
    """The name that was given, or the usual one; no study starts with its own settings."""
    study = checked_study_name(options.study, usual)
    if options.warm_start_storage and not options.warm_start:
        raise Error("--warm-start-storage says where a study is: name that study with --warm-start STUDY.")
    if options.warm_start == study and not options.warm_start_storage:
        raise Error(f"--warm-start {study} is this study itself. Give this one another name with --study NAME.")
    return study


def checked_study_name(asked: str | None, usual: str) -> str:
    """Return the name of --study, or the usual one where none was given; Error where it cannot name a study."""
    if asked and not re.fullmatch(r"[\w][\w.-]{0,99}", asked):
        raise Error(f"--study {asked!r} is no name for a study. Use letters, digits, '.', '_' and '-', at most 100.")
    return asked or usual
