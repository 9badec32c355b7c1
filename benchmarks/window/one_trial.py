"""A trial, measured as a dry run does it, or trained; each runs in a process of its own."""

import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from shards_tools.manifest_file import read_manifest
from trainables.profiling.measure_step import OneStep, measure
from trainables.profiling.timing import Clock
from trainables.recipes import get_recipe
from trainables.recipes.recipe import Recipe
from trainables.recipes.settings import override
from trainables.training.loop import train
from trainables.training.loss_reader import NonFiniteLoss
from trainables.training.trial_report import Save, TrialReport

MEMORY_BYTES = 8 * 10**9  # of the host
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}


def measure_trial(job: dict[str, Any]) -> OneStep:
    """Return the measured parts of a trial, in seconds of the job's clock."""
    torch.set_num_threads(job["num_threads"])
    manifest, clock = read_manifest(job["data"]), CLOCKS[job["clock"]]
    return measure(_recipe(job), manifest, fold=0, seed=0, reading="auto", memory_bytes=MEMORY_BYTES, clock=clock)


def train_trial(job: dict[str, Any]) -> float | None:
    """Train, and save a checkpoint after every epoch; return the seconds of the job's clock, or None if it diverges."""
    torch.set_num_threads(job["num_threads"])
    clock = CLOCKS[job["clock"]]
    start = clock()

    def report(report: TrialReport, save: Save) -> None:
        with tempfile.TemporaryDirectory() as folder:
            save(Path(folder))

    try:
        train(_recipe(job), read_manifest(job["data"]), report=report)
    except NonFiniteLoss:
        return None
    return clock() - start


def _recipe(job: dict[str, Any]) -> Recipe:
    return override(get_recipe(job["recipe"]), job["settings"])
