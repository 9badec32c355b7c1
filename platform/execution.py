"""Runs the trials that are left on Ray: one fresh tune.Tuner per start, which keeps nothing."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import ray
from ray import tune

from platform.adapters import Budget, KeepCheckpoint, StudyScheduler, StudySearcher
from platform.cluster.joining import quieten
from platform.cluster.reaper import reaped
from platform.cluster.servers import watched_servers
from platform.plan import Plan
from platform.signals import stop_on_signals
from platform.trials import Trials
from shards_tools.command import say
from shards_tools.errors import Error
from trainables.ray_trial import PASSING_VARIABLE, run_trial

RAY_START_ATTEMPTS = 3


def run_trials(plan: Plan, trials: Trials, start: int, trainable: Callable[[dict[str, Any]], None] = run_trial) -> None:
    """Run until the study has its trials, the hours are over, or somebody asks for the end.

    Args:
        start: which start of the study this is; its attempts' folders lie under `start-NNN`.
        trainable: what a trial's process runs; it reports as `run_trial` does.
    """
    tuner = tune.Tuner(
        tune.with_resources(trainable, placement(plan)),
        tune_config=tune.TuneConfig(
            search_alg=StudySearcher(trials),
            scheduler=StudyScheduler(trials),
            num_samples=-1,  # the searcher says when it is enough
            max_concurrent_trials=plan.concurrency,
            # On a GPU a fresh process begins without what the last one left in its memory, and a rank without a group.
            reuse_actors=not plan.gpus_per_rank and plan.ranks_per_trial == 1,
            trial_dirname_creator=lambda trial: f"trial-{trial.config['trial']:04d}-{trial.config['attempt']}",
        ),
        run_config=tune.RunConfig(
            name=f"start-{start:03d}",
            storage_path=str(plan.folder),
            verbose=0,
            callbacks=[KeepCheckpoint(trials)],
            # Two, so that the last one stays until the study has heard of the newest.
            checkpoint_config=tune.CheckpointConfig(num_to_keep=2),
            stop=Budget(trials, plan.hours),
        ),
    )
    with stop_on_signals(trials):
        tuner.fit()


def placement(plan: Plan) -> tune.PlacementGroupFactory:
    """What a trial holds: a bundle for each rank, on as few nodes as may be; its own process is the first rank."""
    bundle = {"CPU": plan.cpus_per_rank, "GPU": plan.gpus_per_rank, "memory": plan.memory_per_rank}
    return tune.PlacementGroupFactory([bundle] * plan.ranks_per_trial, strategy="PACK")


@contextmanager
def local_cluster(plan: Plan) -> Iterator[None]:
    """Ray on this machine for as long as the context lasts."""
    quieten()
    project = Path(__file__).resolve().parent.parent
    if (project / "pyproject.toml").exists():
        # Workers find a checkout that is not installed where the driver found it.
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(project), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory(prefix="sakuga-", ignore_cleanup_errors=True) as passing:
        os.environ[PASSING_VARIABLE] = passing
        _start_ray(plan.concurrency * plan.cpus_per_trial)
        try:
            with reaped(Path(passing)), watched_servers():
                yield
        finally:
            ray.shutdown()


def _start_ray(num_cpus: int) -> None:
    """Start Ray on this machine; it gives its own parts half a minute, which a busy machine may exceed."""
    for left in reversed(range(RAY_START_ATTEMPTS)):
        try:
            ray.init(
                address="local",
                num_cpus=num_cpus,
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
            return
        except Exception as failure:  # Ray has no class of its own for it
            ray.shutdown()
            cause = str(failure).strip().partition("\n")[0].rstrip(".")
            if not left:
                raise Error(
                    f"Ray did not start on this machine in {RAY_START_ATTEMPTS} attempts ({cause}). The same command "
                    "goes on once the machine is less busy."
                ) from failure
            say(f"Ray did not start ({cause}); it is started again.")


@contextmanager
def cluster_when_needed(plan: Plan) -> Iterator[Callable[[], None]]:
    """A function that starts Ray when first called, unless a cluster was joined; Ray runs until the context ends."""
    with ExitStack() as stack:

        def start() -> None:
            if not ray.is_initialized():
                stack.enter_context(local_cluster(plan))

        yield start
