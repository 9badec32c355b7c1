"""The plan of a search: everything that the arguments, the data and the space settle before anything is started."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from platform.grid import num_points
from platform.objectives import check_names, objectives_of, sampler_and_pruner
from platform.spaces import Space, load_space
from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from shards_tools.manifest_file import read_manifest
from shards_tools.processes import num_cpus
from shards_tools.sample import sample_set
from shards_tools.stores.address import Address, parse_address
from shards_tools.verify import verify_shards
from trainables.evaluation import Evaluation
from trainables.recipes.recipe import Recipe
from trainables.recipes.settings import settings_of

DEFAULT_TRIALS = {"paper": 60, "tiny": 24}
SEARCH_FOLD = 0  # of five-fold data; a plain tree has one split
TRACKING_SCHEMES = ("sqlite:///", "postgresql", "http://", "https://")


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
    cpus_per_trial: int
    gpus_per_trial: float
    runs: Path
    storage: str
    tracking: str
    chance: dict[str, float]

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
    def folder(self) -> Path:
        """Where this study keeps its checkpoints, its journal and its lock."""
        return self.runs / self.study

    def config(self, recipe: Recipe) -> dict[str, Any]:
        """What the process of a trial is told of its training; see `run_trial`."""
        return {
            "recipe": recipe.name,
            "settings": settings_of(recipe),
            "data": self.data,
            "fold": self.fold,
            "seed": self.seed,
            "num_threads": self.cpus_per_trial,
            "reading": self.reading,
        }

    def identity(self) -> dict[str, Any]:
        """What makes two starts the same search; each entry is named as the option that sets it."""
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
        }


def make_plan(options: argparse.Namespace) -> Plan:
    """The plan that the command line asks for; Error for the first thing in it that cannot be done."""
    check_names(options.objective)
    sampler, pruner = sampler_and_pruner(options.sampler, options.pruner, len(options.objective))
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    scale = options.scale if options.scale != "auto" else ("paper" if num_gpus else "tiny")
    space = load_space(options.space, scale)
    data = options.data or sample_set()
    _refuse_password(data)
    manifest = read_manifest(data)
    if space.reads_tags and manifest.tags is None:
        raise Error(f"--space {options.space} reads tags, and {manifest.store} has none. Build shards of dafull.")
    # Every byte of a local set is looked at; of a remote one each image is, when it arrives.
    verify_shards(manifest, "full" if manifest.store.is_local else "quick")
    evaluation = Evaluation(manifest, "val", SEARCH_FOLD)
    chance = evaluation.chance()
    runs = options.runs.absolute()
    concurrency, cpus, gpus = _resources(options, scale, num_gpus)
    return Plan(
        study=_checked_name(options.study) if options.study else f"{space.name}-{manifest.fingerprint[:8]}-{scale}",
        space=space,
        scale=scale,
        data=str(manifest.store),
        manifest=manifest,
        fold=SEARCH_FOLD,
        objectives=objectives_of(options.objective, evaluation, num_gpus),
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
        cpus_per_trial=cpus,
        gpus_per_trial=gpus,
        runs=runs,
        storage=options.storage or f"sqlite:///{runs / 'optuna.db'}",
        tracking=_checked_tracking(options.tracking or f"sqlite:///{runs / 'mlflow.db'}"),
        chance=chance,
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


def _refuse_password(data: str | Path) -> None:
    """A search tells its trials the address through files, and MLflow shows it."""
    place = parse_address(str(data))
    if isinstance(place, Address) and place.user:
        raise Error(
            f"--data {place} came with a password, which the search would write to its files. Use a store that needs"
            " none, or s3:// or gs:// with keys in the environment."
        )


def _resources(options: argparse.Namespace, scale: str, num_gpus: int) -> tuple[int, int, float]:
    """Trials at a time, and the CPUs and GPUs of each."""
    gpus = options.gpus_per_trial or (1.0 if num_gpus else 0.0)
    if gpus > num_gpus:
        raise Error(f"--gpus-per-trial {gpus:g}: this machine has {num_gpus} GPUs. Give less, or leave it out.")
    # A tiny network gains nothing from a second thread; one of the papers' takes all there are.
    num_at_once = int(num_gpus / gpus) if gpus else num_cpus() if scale == "tiny" else 1
    concurrency = options.concurrency or num_at_once
    if gpus and concurrency > num_at_once:
        raise Error(f"--concurrency {concurrency}: with {gpus:g} GPUs per trial {num_at_once} fit. Give less of one.")
    cpus = 1 if scale == "tiny" and not gpus else max(1, num_cpus() // concurrency)
    return concurrency, cpus, gpus


def _checked_name(name: str) -> str:
    if not re.fullmatch(r"[\w][\w.-]{0,99}", name):
        raise Error(f"--study {name!r} is no name for a study. Use letters, digits, '.', '_' and '-', at most 100.")
    return name


def _checked_tracking(uri: str) -> str:
    if not uri.startswith(TRACKING_SCHEMES):
        raise Error(f"--tracking {uri!r} is no MLflow store. Use sqlite:///FILE, postgresql://... or http://HOST:PORT.")
    return uri
