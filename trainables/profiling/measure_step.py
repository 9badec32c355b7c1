"""Run one real training step and one evaluation batch, and measure their time, memory and disk use."""

import contextlib
import math
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import torch

from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from trainables.data.batches import Batch, EpochBatches
from trainables.evaluation.evaluate import IMAGES_AT_ONCE
from trainables.recipes.recipe import Recipe
from trainables.training.resume import CurrentCheckpoint
from trainables.training.step import NonFiniteLoss
from trainables.training.train_state import TrainState, prepare, seed_everything

MEASURED_S = 2.0  # steps are repeated this long; at least one runs
# Messages of torch and numpy when memory runs out, and of Python when it cannot even create a MemoryError.
OUT_OF_MEMORY = ("allocate memory", "bad_alloc", "start new thread", "setting an exception", "without exception set")


@dataclass(frozen=True, kw_only=True)
class OneStep:
    """The measurements of one training."""

    out_of: Literal["", "memory", "gpu memory"] = ""  # what ran out, if anything; the rest is then not measured
    start_s: float = 0.0  # from the start of the process to the first batch
    step_s: float = 0.0  # on a rank's part of a loaded batch
    load_s: float = 0.0  # to read, decode and augment the images of a batch
    batch_images: int = 0  # over all ranks
    epoch_images: int = 0
    evaluate_s: float = 0.0  # one batch of evaluation
    evaluate_load_s: float = 0.0
    evaluate_images: int = 0  # in that batch
    val_images: int = 0  # that a rank evaluates per epoch
    peak_bytes: int = 0  # of host memory, for the whole process
    gpu_bytes: int = 0  # peak of GPU memory; 0 on a CPU
    gpu_total_bytes: int = 0
    checkpoint_bytes: int = 0


def measure(
    recipe: Recipe,
    manifest: Manifest,
    *,
    fold: int,
    seed: int,
    reading: str,
    memory_bytes: int,
    num_ranks: int = 1,
) -> OneStep:
    """Run one training step and one evaluation batch on images of the manifest, and write a temporary checkpoint.

    Images are decoded on demand, so nothing is added to the cache. Call this in a separate process: its memory is
    limited meanwhile.

    Args:
        reading: as the search will request it. It is used only if the recipe reads images at their native sizes.
        memory_bytes: limit of host memory when running on a CPU; a training that needs more fails without harm to
            others.
        num_ranks: number of ranks that share every batch and evaluation. One of them is measured, without
            communication.
    """
    limit = contextlib.nullcontext() if torch.cuda.is_available() else _limited_memory(memory_bytes)
    try:
        with limit:
            return _measure(recipe, manifest, fold, seed, reading, num_ranks)
    except torch.cuda.OutOfMemoryError:
        return OneStep(out_of="gpu memory")
    except (MemoryError, SystemError, RuntimeError) as failure:
        if isinstance(failure, MemoryError) or any(sign in str(failure) for sign in OUT_OF_MEMORY):
            return OneStep(out_of="memory")
        raise


def _measure(recipe: Recipe, manifest: Manifest, fold: int, seed: int, reading: str, num_ranks: int) -> OneStep:
    if recipe.crop_area is None:
        reading = "offset" if manifest.store.is_local else "stream"
    training = prepare(recipe, manifest, fold=fold, seed=seed, reading=reading)
    seed_everything(seed, 1)
    start_s = time.time() - psutil.Process().create_time()
    batches = EpochBatches(training.data, recipe, seed=seed, epoch=1, world=num_ranks)
    load_s, step_s = _steps(training, batches)
    evaluate_load_s, evaluate_s, evaluate_images = _evaluation_batch(training)
    on_gpu = training.device.type == "cuda"
    checkpoint_bytes = _checkpoint_bytes(training)
    return OneStep(
        start_s=start_s,
        step_s=step_s,
        load_s=load_s,
        batch_images=batches.batch_size,
        epoch_images=len(batches) * batches.batch_size,
        evaluate_s=evaluate_s,
        evaluate_load_s=evaluate_load_s,
        evaluate_images=evaluate_images,
        val_images=math.ceil(len(training.evaluation.images) / num_ranks),
        checkpoint_bytes=checkpoint_bytes,
        gpu_bytes=torch.cuda.max_memory_reserved(training.device) if on_gpu else 0,
        gpu_total_bytes=torch.cuda.get_device_properties(training.device).total_memory if on_gpu else 0,
        peak_bytes=_own_memory("VmHWM") + checkpoint_bytes,  # the training continues while a copy is written
    )


def _steps(training: TrainState, batches: EpochBatches) -> tuple[float, float]:
    """Return the seconds to load a batch and to run a step, averaged over all but the first, which warms up."""
    training.model.train()
    training.criterion.train()
    seconds = []
    begun = time.perf_counter()
    with contextlib.closing(batches.start(workers=0)) as own:
        for number in range(1, len(batches) + 1):
            load_s, batch = _timed(lambda: next(own).to(training.device))
            step_s, _ = _timed(partial(_step, training, batch, number))
            seconds.append((load_s, step_s))
            if time.perf_counter() - begun > MEASURED_S:
                break
    load_s, step_s = np.mean(seconds[1:] or seconds, axis=0)
    return float(load_s), float(step_s)


def _step(training: TrainState, batch: Batch, number: int) -> None:
    # a search would fail such a trial; here only its memory and time matter
    with contextlib.suppress(NonFiniteLoss):
        training.step(batch, f"in step {number}")


def _evaluation_batch(training: TrainState) -> tuple[float, float, int]:
    """Return the seconds to load one batch of val, the seconds to evaluate it, and its number of images."""
    model = training.evaluated_model.eval()
    indices = training.evaluation.images[:IMAGES_AT_ONCE]
    load_s, (images_BHWC, words_BL) = _timed(lambda: training.inputs.at(indices, training.device))
    with torch.inference_mode():
        evaluate = model.embed if training.evaluation.ranks else model.classify
        evaluate_s, _ = _timed(lambda: evaluate(images_BHWC, words_BL).cpu())
    return load_s, evaluate_s, len(indices)


def _checkpoint_bytes(training: TrainState) -> int:
    try:
        with tempfile.TemporaryDirectory() as folder:
            CurrentCheckpoint(training, 1, {}, None)(Path(folder))
            return sum(file.stat().st_size for file in Path(folder).iterdir())
    except OSError as failure:
        raise Error(
            f"A checkpoint of {training.recipe.name} cannot be written to {tempfile.gettempdir()} ({failure.strerror})."
            " Free some space there, or set TMPDIR to another folder."
        ) from failure


def _timed(act: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = act()
    return time.perf_counter() - start, result


@contextlib.contextmanager
def _limited_memory(num_bytes: int) -> Iterator[None]:
    """Limit the memory of this process to `num_bytes`: larger allocations fail without affecting other processes."""
    free = max(num_bytes - _own_memory("VmRSS"), 0)
    before = resource.getrlimit(resource.RLIMIT_DATA)
    hardest = before[1]
    limit = _own_memory("VmData") + free
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hardest < 0 else min(limit, hardest), hardest))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)  # reporting a failure needs memory, too


def _own_memory(name: str) -> int:
    """Return a number of bytes from the process's status; ru_maxrss would start at the parent's peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
