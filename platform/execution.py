"""Runs the remaining trials on Ray, with a new `tune.Tuner` per start that stores no state."""

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

from platform.cluster.auth import close_token
from platform.cluster.connect import quieten
from platform.cluster.ray_watchdog import watched_servers
from platform.cluster.reaper import reaped
from platform.resources import TrialResources
from platform.signals import stop_on_signals
from platform.trials import Trials
from platform.tune_adapters import EndOfStart, ForgetErrors, KeepCheckpoint, StudyScheduler, StudySearcher
from shards_tools.command import say
from shards_tools.errors import Error
from trainables.training.checkpoint_store import PASSING_VARIABLE

RAY_START_ATTEMPTS = 3


def run_trial(config: dict[str, Any]) -> None:
    """Call `trainables.ray_trial.run_trial`; only the worker imports torch, so that the driver starts sooner."""
    from trainables import ray_trial

    ray_trial.run_trial(config)


def run_trials(
    trials: Trials, start: int, hours: float | None, trainable: Callable[[dict[str, Any]], None] = run_trial
) -> None:
    """Run trials until the study has enough, the hours are used up, or a signal stops the search.

    Args:
        trials: the study's trials, which decide what runs next.
        start: the number of this start of the study; its attempts are stored under `start-NNN`.
        hours: stop after this time; None: without a limit.
        trainable: the function that a trial's process runs; it reports as `run_trial` does.
    """
    resources = trials.resources
    tuner = tune.Tuner(
        tune.with_resources(trainable, placement(resources)),
        tune_config=tune.TuneConfig(
            search_alg=StudySearcher(trials),
            scheduler=StudyScheduler(trials),
            num_samples=-1,  # the searcher ends the run
            max_concurrent_trials=resources.concurrency,
            reuse_actors=resources.reuses_processes,
            trial_dirname_creator=lambda trial: f"trial-{trial.config['trial']:04d}-{trial.config['attempt']}",
        ),
        run_config=tune.RunConfig(
            name=f"start-{start:03d}",
            storage_path=str(trials.stores.folder),
            verbose=0,
            callbacks=[KeepCheckpoint(trials), ForgetErrors()],
            # Two, so that the previous one exists until the study has recorded the newest.
            checkpoint_config=tune.CheckpointConfig(num_to_keep=2),
            stop=EndOfStart(trials, hours),
        ),
    )
    with stop_on_signals(trials):
        tuner.fit()


def placement(resources: TrialResources) -> tune.PlacementGroupFactory:
    """Return the resources of a trial: a bundle per rank, on as few nodes as possible; the trial itself is rank 0."""
    bundle = {"CPU": resources.cpus_per_rank, "GPU": resources.gpus_per_rank, "memory": resources.memory_per_rank}
    return tune.PlacementGroupFactory([bundle] * resources.ranks_per_trial, strategy="PACK")


@contextmanager
def local_cluster(num_cpus: int) -> Iterator[None]:
    """Run Ray on this machine inside the context; its trials hold at most `num_cpus` CPUs."""
    quieten()
    project = Path(__file__).resolve().parent.parent
    if (project / "pyproject.toml").exists():
        # Lets workers import from a checkout that is not installed.
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(project), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory(prefix="sakuga-", ignore_cleanup_errors=True) as passing:
        os.environ[PASSING_VARIABLE] = passing
        _start_ray(num_cpus)
        close_token()
        try:
            with reaped(Path(passing)), watched_servers():
                yield
        finally:
            ray.shutdown()


def _start_ray(num_cpus: int) -> None:
    """Start Ray on this machine, with retries: on a busy machine its processes may miss their 30 s limit."""
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
        except Exception as failure:  # Ray has no specific exception for this
            ray.shutdown()
            cause = str(failure).strip().partition("\n")[0].rstrip(".")
            if not left:
                raise Error(
                    f"Ray did not start on this machine in {RAY_START_ATTEMPTS} attempts ({cause}). Run the same"
                    " command again when the machine is less busy."
                ) from failure
            say(f"Ray did not start ({cause}). Trying again.")


@contextmanager
def cluster_when_needed(num_cpus: int) -> Iterator[Callable[[], None]]:
    """Yield a function that starts Ray on its first call, unless a cluster was joined.

    Ray is shut down at the end of the context.
    """
    with ExitStack() as stack:

        def start() -> None:
            if not ray.is_initialized():
                stack.enter_context(local_cluster(num_cpus))

        yield start
