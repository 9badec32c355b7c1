"""Resolves the configuration of a search with the data, the space and the machine."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import optuna

from platform.addresses import checked_runs
from platform.budgets import Budget
from platform.config import SearchConfig
from platform.objectives import Goal, objectives_of, parse_limits, refuse_gpu_memory
from platform.protocol import EvaluationProtocol, checked_folds, with_test_fold
from platform.read_only_study import open_read_only, searches
from platform.resolved_search import ResolvedSearch
from platform.resources import Machine, TrialResources, allocate, this_machine
from platform.samplers.registry import SearchMethod, sampler_and_pruner
from platform.spaces.constraints import check_reachable
from platform.spaces.grid import num_points
from platform.spaces.loading import Space, load_space
from platform.stores import Stores, default_storage, default_tracking
from platform.study import refuse_missing_code
from platform.training_setup import TrainingSetup
from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from shards_tools.manifest_file import read_manifest
from shards_tools.plugins import is_plugin, load_plugins
from shards_tools.sample import sample_set
from shards_tools.verify import verify_shards
from trainables.evaluation.evaluation import Evaluation
from trainables.training.checkpoint_info import refuse_seen_images

DEFAULT_TRIALS = {"paper": 60, "tiny": 24}
SEARCH_FOLD = 0  # of five-fold data; a plain tree has one split


def resolve_search(config: SearchConfig, nodes: Sequence[Machine] = (), command: str = "") -> ResolvedSearch:
    """Return the search that `config` asks for, with its defaults filled in.

    Args:
        config: the options of the search.
        nodes: the nodes of the cluster that the trials run on; empty: they run on this machine.
        command: the command as it was typed or called.

    Raises:
        Error: the data or the machine do not allow the configuration; only the first problem is named.
    """
    sampler, pruner = sampler_and_pruner(config.sampler, config.pruner, len(config.objective))
    machines = nodes or [this_machine()]
    num_gpus = int(sum(machine.gpus for machine in machines))
    at_most = parse_limits(config.at_most)
    refuse_gpu_memory("--at-most", list(at_most), num_gpus)
    scale = config.scale if config.scale != "auto" else ("paper" if num_gpus else "tiny")
    space, plugins = _loaded_space(config, scale)
    manifest = _checked_data(config, space)
    evaluation = Evaluation(manifest, "val", SEARCH_FOLD)
    chance = evaluation.chance()
    check_reachable(at_most, space)
    resources = _resources(config, scale, machines)
    return ResolvedSearch(
        command=command,
        setup=TrainingSetup(
            space=space,
            scale=scale,
            manifest=manifest,
            fold=SEARCH_FOLD,
            seed=config.seed,
            reading=config.reading,
            epochs=config.epochs,
            plugins=plugins,
        ),
        goal=Goal(objectives=objectives_of(config.objective, evaluation, num_gpus), at_most=at_most, chance=chance),
        budget=Budget(
            trials=_num_trials(config, space, scale),
            hours=config.hours,
            gpu_hours=_gpu_hours(config, resources),
            target=config.target,
            patience=config.patience,
        ),
        method=SearchMethod(
            sampler=sampler,
            pruner=pruner,
            warm_start=config.warm_start,
            warm_start_storage=config.warm_start_storage,
        ),
        resources=resources,
        stores=_stores(config, f"{space.name}-{manifest.fingerprint[:8]}-{scale}"),
        protocol=EvaluationProtocol(
            folds=checked_folds(config.folds, manifest),
            finalists=config.finalists,
            final_seeds=config.final_seeds,
            final_train=config.final_train,
        ),
    )


def _loaded_space(config: SearchConfig, scale: str) -> tuple[Space, tuple[str, ...]]:
    """Load the user's own code, then the space; return the space and the names of all plugins."""
    plugins = load_plugins(config.import_, accept_changed_code=config.accept_changed_code)
    try:
        space = load_space(config.space, scale)
    except Error:
        _refuse_missing_code(config, (*plugins, str(config.space)))
        raise
    if is_plugin(config.space):
        plugins = (*plugins, str(Path(str(config.space)).absolute()))
    return space, plugins


def _refuse_missing_code(config: SearchConfig, loaded: Sequence[str]) -> None:
    """Refuse a space that cannot be loaded because the user code of an earlier start is not loaded."""
    url = config.storage or default_storage(config.runs.absolute())
    studies: list[optuna.Study] = []
    with suppress(Error):  # no database yet
        studies = searches(open_read_only(url), url)
    for study in studies:
        name = study.study_name
        if name == config.study or (not config.study and name.startswith(f"{Path(str(config.space)).stem}-")):
            refuse_missing_code(study, loaded)


def _checked_data(config: SearchConfig, space: Space) -> Manifest:
    """Read and verify the data, also against the baselines' checkpoints, and return their manifest."""
    manifest = read_manifest(config.data or sample_set())
    manifest.require_train()
    manifest = with_test_fold(manifest, config.finalists)
    if space.reads_tags and manifest.tags is None:
        raise Error(
            f"--space {space.name} needs tags, but {manifest.store} has none. Build the shards with:"
            " python -m shards_tools build dafull."
        )
    for row in space.baselines.values():
        refuse_seen_images(space.recipe(optuna.trial.FixedTrial(row), config.epochs), manifest, SEARCH_FOLD)
    # Every byte of a local set is read; remote images are checked when they arrive.
    verify_shards(manifest, "full" if manifest.store.is_local else "quick")
    return manifest


def _resources(config: SearchConfig, scale: str, machines: Sequence[Machine]) -> TrialResources:
    return allocate(
        scale,
        machines,
        gpus_per_trial=config.gpus_per_trial,
        ranks_per_trial=config.ranks_per_trial,
        concurrency=config.concurrency,
        is_cluster=config.address is not None,
    )


def _gpu_hours(config: SearchConfig, resources: TrialResources) -> float | None:
    if config.gpu_hours and not resources.gpus_per_rank:
        raise Error(f"--gpu-hours {config.gpu_hours:g}: trials of this search have no GPU. Use --hours.")
    return config.gpu_hours


def _num_trials(config: SearchConfig, space: Space, scale: str) -> int:
    """Return the number of trials; a grid has at most its points and the baselines."""
    asked = config.trials or DEFAULT_TRIALS[scale]
    return min(asked, len(space.baselines) + num_points(space)) if config.sampler == "grid" else asked


def _stores(config: SearchConfig, default: str) -> Stores:
    """Return the stores of the study, whose name must differ from the study of --warm-start."""
    study = config.study or default
    if config.warm_start == study and not config.warm_start_storage:
        raise Error(f"--warm-start {study} is this study itself. Name this study differently with --study NAME.")
    runs = checked_runs(config.runs)
    return Stores(
        study=study,
        runs=runs,
        storage=config.storage or default_storage(runs),
        tracking=config.tracking or default_tracking(runs),
        checkpoints=config.checkpoints,
    )
