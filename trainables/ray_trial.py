"""A trial of the search: run the training loop and report to Tune. The only file here that imports Ray."""

import os
import threading
import time
import traceback
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil
import ray
import torch
from ray import tune
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from shards_tools.errors import Error, Unreadable
from shards_tools.folders import DISK_ERRORS, sync_files, written_file
from shards_tools.manifest import TRAINED_ON, Manifest
from shards_tools.manifest_file import read_manifest
from shards_tools.plugins import load_shipped
from trainables.collected_warnings import CollectedWarnings, collected_warnings
from trainables.device import Device
from trainables.distributed import ALONE, DistributedContext, group, open_meeting
from trainables.profiling.measure_step import measure
from trainables.profiling.resource_usage import freed_gpu, keep_to_share
from trainables.recipes import get_recipe
from trainables.recipes.settings import override
from trainables.training.background import BackgroundReports
from trainables.training.checkpoint_store import BucketAway, patiently, remove, saved_aside, send
from trainables.training.loop import train
from trainables.training.loss_reader import NonFiniteLoss
from trainables.training.resume import newest_intact
from trainables.training.trial_report import EarlyEnd, EndReason, Save, TrialReport

# Variables that a cluster's launcher may have set; they do not apply to a trial.
LAUNCHER_VARIABLES = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "GROUP_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
)
# Names how long Tune waits for the end of a pruned training before another trial takes over its process. The training
# ends after a batch, or after the evaluation that it has started.
TUNE_PATIENCE_VARIABLE = "TUNE_FUNCTION_THREAD_TIMEOUT_S"
MAY_END_S = 600
# From the end of one rank to the ends of the others, which notice it when they next communicate.
OTHERS_MAY_TAKE_S = 60.0


def run_trial(config: dict[str, Any]) -> None:
    """Train with the settings in `config` and report every epoch with its checkpoint.

    What ends a training for good is reported as an EarlyEnd first, to tell it from the death of the process, which is
    retried.

    Args:
        config: has these keys.

            - `recipe`: a name; `settings`: the fields that differ from it.
            - `data`: folder of shards; `fingerprint`: of their manifest, if it is to be compared.
            - `fold`; `test_fold`: kept out of the training, if present and not None; `trained_on`: the splits to train
              on, if not train alone.
            - `seed`, `num_threads`.
            - `gpu_fraction`: of a GPU; below 1 it is shared.
            - `reading`: of images.
            - `ranks`: number of processes that train together; this one is the first.
            - `resume`: the checkpoints to resume from, the newest first; an older one serves if it is damaged.
            - `bucket`: bucket folder for checkpoints; None: Tune keeps them.
            - `plugins`: the user's own code, as `shards_tools.plugins.shipped_plugins` gives it;
              `accept_changed_code`: whether it may have changed since the checkpoint.

    Raises:
        ProcessSpent: the process must not run another trial.
    """
    _refuse_used_gpu()  # by a pruned trial
    _set_up(config)
    end = _train(config, nullcontext(ALONE)) if config["ranks"] == 1 else _train_with_others(config)
    if end:
        tune.report(end.to_result())
        raise ProcessSpent(f"its trial ended early: {end.text}")
    _refuse_used_gpu()


class ProcessSpent(Exception):
    """Lets Tune replace this process, although its trial has ended as reported."""


def _refuse_used_gpu() -> None:
    if not freed_gpu():
        raise ProcessSpent(f"{Device().allocated_bytes()} bytes of GPU memory are still allocated")


def _train_with_others(config: dict[str, Any]) -> EarlyEnd | None:
    """Train as the first rank, and start the others in the further bundles of the trial's placement group.

    The others die with this process.

    Returns:
        What ended the first rank that ended early, because the rest failed as a consequence; None if none did.
    """
    world: int = config["ranks"]
    host: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    meeting = open_meeting(host, world)
    others = [_start_rank(config, rank, host, meeting.port) for rank in range(1, world)]
    ended = threading.Event()
    threading.Thread(target=_die_with, args=(others, ended), daemon=True).start()
    own = _train(config, group(host, meeting.port, 0, world))
    ended.set()
    if own is None:
        return None
    told, _ = ray.wait(others, num_returns=len(others), timeout=OTHERS_MAY_TAKE_S)
    ends: list[EarlyEnd | None] = [own, *ray.get(told)]
    return min((end for end in ends if end), key=lambda end: end.ended_at)


def _start_rank(config: dict[str, Any], rank: int, host: str, port: int) -> Any:
    """Start another rank, and return a reference to what its `_train` will return."""
    placement = ray.util.get_current_placement_group()
    assert placement is not None
    there = PlacementGroupSchedulingStrategy(placement, placement_group_bundle_index=rank)
    has = placement.bundle_specs[rank]
    task = ray.remote(
        num_cpus=has["CPU"],
        num_gpus=has.get("GPU", 0),
        scheduling_strategy=there,
        max_calls=1,  # a process in which a group may have failed is not reused
        max_retries=0,  # a rank cannot resume alone
    )(run_rank)
    return task.remote(config, rank, host, port)


def run_rank(config: dict[str, Any], rank: int, host: str, port: int) -> EarlyEnd | None:
    """Train as a rank after the first, which is reached at `host`; return what ended it early, if anything did."""
    _set_up(config)
    return _train(config, group(host, port, rank, config["ranks"]))


def _die_with(others: list[Any], ended: threading.Event) -> None:
    """End this process once another rank has died: the attempt then counts as died, and its trial is retried.

    By itself the first rank would wait up to LONGEST_WAIT for a rank that died or ended early.
    """
    while others:
        done, others = ray.wait(others)
        try:
            (end,) = ray.get(done)
        except ray.exceptions.RayError:
            os._exit(1)
        if end and not ended.wait(OTHERS_MAY_TAKE_S):
            os._exit(1)


def _train(config: dict[str, Any], as_one_of: AbstractContextManager[DistributedContext]) -> EarlyEnd | None:
    """Train, and return what ended the training for good before its last epoch, if anything did."""
    try:
        load_shipped(config["plugins"], accept_changed_code=config["accept_changed_code"])
        recipe = override(get_recipe(config["recipe"]), config["settings"])
        with (
            collected_warnings("shards_tools") as warnings,
            as_one_of as ranks,
            newest_intact(config["resume"]) as (resume, notice),
        ):
            warnings.add(notice)
            reports = Reports(config["bucket"], warnings)
            with BackgroundReports(reports.report, reports.partial) as background:
                train(
                    recipe,
                    _as_asked(read_manifest(config["data"]), config),
                    report=background.report,
                    save_partial=background.save_partial,
                    watch=background.raise_failure,
                    fold=config["fold"],
                    seed=config["seed"],
                    resume=resume,
                    reading=config["reading"],
                    ranks=ranks,
                )
    except Exception as failure:
        return _early_end(failure)
    return None


class DataChanged(Unreadable):
    """The shards are others than those of the study."""


def _as_asked(manifest: Manifest, config: dict[str, Any]) -> Manifest:
    """Return the manifest with the split of the training.

    Raises:
        DataChanged: the shards were replaced since the search started, or this node has others.
    """
    if manifest.fingerprint != config.get("fingerprint", manifest.fingerprint):
        raise DataChanged(
            f"{manifest.store} has other images, labels or splits than at the start of the search. Put back the shards"
            f" with the fingerprint {config['fingerprint'][:16]}."
        )
    return manifest.with_test_fold(config.get("test_fold")).with_trained(config.get("trained_on", TRAINED_ON))


def _early_end(failure: Exception) -> EarlyEnd:
    """Return how an exception ended a training."""
    if isinstance(failure, NonFiniteLoss):
        return EarlyEnd(EndReason.INFEASIBLE, str(failure))
    if isinstance(failure, torch.cuda.OutOfMemoryError):
        return EarlyEnd(EndReason.INFEASIBLE, f"out of GPU memory: {failure}")
    if isinstance(failure, MemoryError):  # numpy's and Python's own
        return EarlyEnd(EndReason.INFEASIBLE, f"out of memory: {failure}")
    if isinstance(failure, BucketAway):
        return EarlyEnd(EndReason.STORE_UNREACHABLE, str(failure))
    if isinstance(failure, Unreadable):
        return EarlyEnd(EndReason.DATA_UNREADABLE, str(failure))
    if isinstance(failure, Error):
        return EarlyEnd(EndReason.MISTAKE, str(failure))
    if "DefaultCPUAllocator: can't allocate memory" in str(failure):  # torch has no exception class for it
        cause = str(failure).partition("DefaultCPUAllocator: ")[2]
        return EarlyEnd(EndReason.INFEASIBLE, f"out of memory: {cause}")
    if isinstance(failure, OSError) and failure.errno in DISK_ERRORS:
        return EarlyEnd(EndReason.DISK_FULL, failure.strerror or str(failure), place=written_file(failure) or "")
    lines = "".join(traceback.format_exception(failure))
    return EarlyEnd(EndReason.BUG, f"{type(failure).__name__}: {failure}", traceback=lines)


def run_one_step(job: dict[str, Any]) -> dict[str, Any]:
    """Measure the steps and evaluation batches of a trial in a process like its own; see OneStep.

    Args:
        job: has `config` (as in `run_trial`) and `memory_bytes` (the limit of the trial).
    """
    process_s = _process_start_s()
    config = job["config"]
    _set_up(config)
    load_shipped(config["plugins"], accept_changed_code=config["accept_changed_code"])
    step = measure(
        override(get_recipe(config["recipe"]), config["settings"]),
        _as_asked(read_manifest(config["data"]), config),
        fold=config["fold"],
        seed=config["seed"],
        reading=config["reading"],
        num_ranks=config["ranks"],
        memory_bytes=job["memory_bytes"],
        process_s=process_s,
    )
    return asdict(step)


def _process_start_s() -> float:
    """Return the seconds from the start of this process until it had imported its libraries."""
    if ray.is_initialized():  # Ray may have started this process before it was needed
        return time.process_time()
    return time.time() - float(psutil.Process().create_time())


def _set_up(config: dict[str, Any]) -> None:
    for name in LAUNCHER_VARIABLES:
        os.environ.pop(name, None)
    os.environ[TUNE_PATIENCE_VARIABLE] = str(MAY_END_S)
    torch.set_num_threads(config["num_threads"])
    keep_to_share(config["gpu_fraction"])


class Reports:
    """Reports a training to Tune, each time with a checkpoint.

    Tune copies the checkpoint into the attempt's folder. With a bucket, it is uploaded there instead and Tune gets its
    address.
    """

    def __init__(self, bucket: str | None, warnings: CollectedWarnings | None = None) -> None:
        self._bucket, self._warnings = bucket, warnings or CollectedWarnings()
        self._count = 0
        self._kept: list[str] = []

    def report(self, report: TrialReport, save: Save) -> None:
        """Save a checkpoint and send it with the report."""
        with saved_aside(save) as folder:
            self._send(replace(report, notice=" ".join(self._warnings.taken())), folder)

    def partial(self, save: Save) -> None:
        """Report a checkpoint within an epoch, which is no step of the study."""
        self.report(TrialReport(), save)

    def _send(self, report: TrialReport, folder: Path) -> None:
        if self._bucket is None:
            tune.report(report.to_result(), checkpoint=tune.Checkpoint.from_directory(folder))
            if kept := tune.get_checkpoint():
                sync_files(Path(kept.path))
            return
        place = f"{self._bucket}/checkpoint_{self._count:06d}"
        self._count += 1
        patiently(lambda: send(folder, place))
        tune.report(replace(report, kept_at=place).to_result())
        self._kept.append(place)
        if len(self._kept) > 2:  # Tune keeps two as well: the study may not know the newest yet
            remove(self._kept.pop(0))
