"""A trial of the search: the training loop, with Tune as the one it reports to. The only file here that knows Ray."""

import errno
import os
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from ray import tune

from shards_tools.errors import Error
from shards_tools.folders import DISK_ERRORS, is_full
from shards_tools.manifest_file import read_manifest
from trainables.checkpoint import read_info
from trainables.loop import train
from trainables.one_step import measure
from trainables.recipes import get_recipe
from trainables.recipes.settings import override
from trainables.step import NonFiniteLoss

# What a cluster's launcher may have left in the environment; a trial of one process must not believe it.
LAUNCHER_VARIABLES = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "GROUP_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
)
# Names the folder where checkpoints stand until Tune has copied them; whoever starts Ray removes it in the end.
PASSING_VARIABLE = "SAKUGA_PASSING"


def run_trial(config: dict[str, Any]) -> None:
    """Train what `config` says and report every epoch with its checkpoint.

    Args:
        config: `recipe` (a name), `settings` (the fields that differ), `data` (folder of shards), `fold`, `test_fold`
            (kept out of the training; None or absent: none is), `seed`, `num_threads`, `reading` (of images), and
            `resume` (the checkpoint folder to go on from, or None).

    What ends a training for good is reported rather than raised, so that a death of the process, which is worth
    another attempt, can be told from it: `infeasible` is the settings' fault, `no_room` a full disk's, `failure` a bug.
    """
    _set_up(config)
    try:
        recipe = override(get_recipe(config["recipe"]), config["settings"])
        resume = Path(config["resume"]) if config["resume"] else None
        train(
            recipe,
            read_manifest(config["data"]).with_test_fold(config.get("test_fold")),
            report=report_to_tune,
            save_partial=partial_to_tune,
            fold=config["fold"],
            seed=config["seed"],
            resume=resume,
            reading=config["reading"],
        )
    except NonFiniteLoss as end:
        tune.report({"infeasible": str(end)})
    except torch.cuda.OutOfMemoryError as end:
        tune.report({"infeasible": f"out of GPU memory: {end}"})
    except MemoryError as end:  # numpy's and Python's own
        tune.report({"infeasible": f"out of memory: {end}"})
    except Error as mistake:
        tune.report({"failure": str(mistake)})
    except Exception as bug:
        if "DefaultCPUAllocator: can't allocate memory" in str(bug):  # torch has no class for it
            tune.report({"infeasible": f"out of memory: {str(bug).partition('DefaultCPUAllocator: ')[2]}"})
        elif isinstance(bug, OSError) and bug.errno in DISK_ERRORS:
            tune.report({"no_room": bug.strerror, "place": bug.filename or ""})
        else:
            tune.report({"failure": f"{type(bug).__name__}: {bug}", "traceback": traceback.format_exc()})


def run_one_step(job: dict[str, Any]) -> list[dict[str, Any]]:
    """What one step and one evaluation batch of some trials take in a process such as theirs; see OneStep.

    Args:
        job: `configs` (each as of `run_trial`), `memory_bytes` and `gpu_fraction` (what one trial may have).
    """
    steps = []
    for config in job["configs"]:
        _set_up(config)
        step = measure(
            override(get_recipe(config["recipe"]), config["settings"]),
            read_manifest(config["data"]).with_test_fold(config.get("test_fold")),
            fold=config["fold"],
            seed=config["seed"],
            reading=config["reading"],
            memory_bytes=job["memory_bytes"],
            gpu_fraction=job["gpu_fraction"],
        )
        steps.append(asdict(step))
    return steps


def _set_up(config: dict[str, Any]) -> None:
    for name in LAUNCHER_VARIABLES:
        os.environ.pop(name, None)
    torch.set_num_threads(config["num_threads"])


def report_to_tune(metrics: dict[str, float], save: Callable[[Path], None]) -> None:
    """Report one epoch, and how its images were read; Tune copies the checkpoint into the attempt's own folder."""
    with passing_folder() as folder:
        save(folder)
        reading = read_info(folder).reading
        tune.report({**metrics, "reading": reading}, checkpoint=tune.Checkpoint.from_directory(folder))


def partial_to_tune(save: Callable[[Path], None]) -> None:
    """Hand over a checkpoint within an epoch: a report without numbers, which is no step of the study."""
    with passing_folder() as folder:
        save(folder)
        tune.report({"partial": True}, checkpoint=tune.Checkpoint.from_directory(folder))


@contextmanager
def passing_folder() -> Iterator[Path]:
    """A folder for as long as the context lasts; whatever fails for want of room there is an OSError that names it."""
    room = os.environ.get(PASSING_VARIABLE, tempfile.gettempdir())
    os.makedirs(room, exist_ok=True)  # on another node than the driver's there is none
    with tempfile.TemporaryDirectory(dir=room) as folder:
        try:
            yield Path(folder)
        except Exception as failure:
            if is_full(Path(folder)):  # torch and safetensors have errors of their own
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), tempfile.gettempdir()) from failure
            raise
