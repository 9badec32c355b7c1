"""Run real training steps and evaluation batches, and measure their time, memory and disk use."""

import contextlib
import math
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from shards_tools.cache import is_decoded
from shards_tools.errors import Error
from shards_tools.images import one_shape
from shards_tools.manifest import Manifest
from shards_tools.parallel import num_cpus
from trainables.data.reading import decoded_shapes
from trainables.distributed import DistributedContext
from trainables.profiling.timing import Clock, RepeatedImages, Timer, time_evaluation, time_steps
from trainables.recipes.recipe import Recipe
from trainables.training.resume import Buffers, CurrentCheckpoint
from trainables.training.train_state import TrainState, epoch_batches, prepare, seed_everything

DECODED_IMAGES = 256  # that are kept in memory in place of the cache
# Messages of torch and numpy when memory runs out, and of Python when it cannot even create a MemoryError.
OUT_OF_MEMORY = ("allocate memory", "bad_alloc", "start new thread", "setting an exception", "without exception set")


@dataclass(frozen=True, kw_only=True)
class OneStep:
    """The measurements of one training."""

    out_of: Literal["", "memory", "gpu memory"] = ""  # what ran out, if anything; the rest is then not measured
    process_s: float = 0.0  # to start a process and import the libraries
    prepare_s: float = 0.0  # to build the model and open the images
    decode_s: float = 0.0  # to decode all images once per machine; 0: they are decoded already, or on demand
    warm_up_s: float = 0.0  # by how much the first steps exceed later ones, in all
    load_s: float = 0.0  # to read, or decode, and augment the images of a batch
    step_s: float = 0.0  # on a rank's part of a loaded batch
    batch_images: int = 0  # over all ranks
    epoch_images: int = 0
    evaluate_load_s: float = 0.0  # one batch of evaluation
    evaluate_s: float = 0.0
    evaluate_images: int = 0  # in that batch
    val_images: int = 0  # that a rank evaluates per epoch
    metrics_s: float = 0.0  # of all val images, once per epoch
    copy_s: float = 0.0  # to copy a checkpoint
    write_s: float = 0.0  # to write the copy, which a free CPU does during the next epoch
    checkpoint_bytes: int = 0
    peak_bytes: int = 0  # of host memory, for the whole process
    gpu_bytes: int = 0  # peak of GPU memory; 0 on a CPU
    gpu_total_bytes: int = 0

    def training_s(self, num_epochs: int, *, gpu_share: float = 1.0, loads_ahead: bool = True) -> float:
        """Return the seconds of a training in a running process, once the images are decoded; see `epoch_s`."""
        return self.prepare_s + self.warm_up_s + num_epochs * self.epoch_s(gpu_share=gpu_share, loads_ahead=loads_ahead)

    def epoch_s(self, *, gpu_share: float = 1.0, loads_ahead: bool = True) -> float:
        """Return the seconds of an epoch: training, evaluation, metrics and checkpoint.

        Args:
            gpu_share: the fraction of a GPU's speed that the training gets.
            loads_ahead: whether a CPU is free to load batches and write checkpoints during the steps. If not, they take
                turns.
        """
        step_s, evaluate_s = self.step_s / gpu_share, self.evaluate_s / gpu_share
        num_steps = self.epoch_images / self.batch_images
        if loads_ahead:  # the first batch is loaded before the first step, and no other during the last one
            train_s = num_steps * max(self.load_s, step_s) + min(self.load_s, step_s)
        else:
            train_s = num_steps * (self.load_s + step_s)
        # an evaluation loads batches in the same thread, which only a GPU does not wait for
        batch_s = max(self.evaluate_load_s, evaluate_s) if self.gpu_bytes else self.evaluate_load_s + evaluate_s
        epoch_s = train_s + self.val_images / self.evaluate_images * batch_s + self.metrics_s + self.copy_s
        return max(epoch_s, self.write_s) if loads_ahead else epoch_s + self.write_s


def measure(
    recipe: Recipe,
    manifest: Manifest,
    *,
    fold: int,
    seed: int,
    reading: str,
    memory_bytes: int,
    num_ranks: int = 1,
    process_s: float = 0.0,
    clock: Clock = time.perf_counter,
) -> OneStep:
    """Time training steps and evaluation batches on images of the manifest, and write a temporary checkpoint.

    If the training would read decoded images, a few are decoded into memory, so nothing is added to the cache. Call
    this in a separate process: its memory is limited meanwhile.

    Args:
        reading: as the search will request it.
        memory_bytes: limit of host memory when running on a CPU; a training that needs more fails without harm to
            others.
        num_ranks: number of ranks that share every batch and evaluation. One of them is measured, without
            communication.
        process_s: seconds that the process took to start.
        clock: what the parts are timed with.
    """
    limit = contextlib.nullcontext() if torch.cuda.is_available() else _limited_memory(memory_bytes)
    try:
        with limit:
            return replace(_measure(recipe, manifest, fold, seed, reading, num_ranks, clock), process_s=process_s)
    except torch.cuda.OutOfMemoryError:
        return OneStep(out_of="gpu memory")
    except (MemoryError, SystemError, RuntimeError) as failure:
        if isinstance(failure, MemoryError) or any(sign in str(failure) for sign in OUT_OF_MEMORY):
            return OneStep(out_of="memory")
        raise


def _measure(
    recipe: Recipe, manifest: Manifest, fold: int, seed: int, reading: str, num_ranks: int, clock: Clock
) -> OneStep:
    start = clock()
    training = prepare(recipe, manifest, fold=fold, seed=seed, reading=_on_demand(recipe, manifest, reading))
    timer = Timer(clock, training.device)
    prepare_s = timer.now() - start
    decode_s = _keep_decoded(training, reading, timer)
    seed_everything(seed, 1)
    batches = epoch_batches(training, 1, DistributedContext(world=num_ranks))
    steps, evaluation = time_steps(training, batches, timer), time_evaluation(training, timer)
    copy_s, write_s, checkpoint_bytes = _checkpoint(training, timer)
    return OneStep(
        prepare_s=prepare_s,
        decode_s=decode_s,
        warm_up_s=steps.warm_up_s + evaluation.latency_s,
        load_s=steps.load_s,
        step_s=steps.step_s,
        batch_images=batches.batch_size,
        epoch_images=len(batches) * batches.batch_size,
        evaluate_load_s=evaluation.load_s,
        evaluate_s=evaluation.forward_s,
        evaluate_images=evaluation.num_images,
        val_images=math.ceil(len(training.evaluation.images) / num_ranks),
        metrics_s=evaluation.metrics_s,
        copy_s=copy_s,
        write_s=write_s,
        checkpoint_bytes=checkpoint_bytes,
        gpu_bytes=training.device.peak_reserved_bytes(),
        gpu_total_bytes=training.device.total_bytes(),
        peak_bytes=_own_memory("VmHWM") + checkpoint_bytes,  # the training continues while a copy is written
    )


def _on_demand(recipe: Recipe, manifest: Manifest, reading: str) -> str:
    """Return the reading that decodes each image when it is read."""
    if manifest.store.is_local:
        return "offset"
    return reading if recipe.crop_area is not None and one_shape(manifest) is None else "stream"


def _keep_decoded(training: TrainState, reading: str, timer: Timer) -> float:
    """If the training would read decoded images, let it read a few from memory.

    Returns:
        The seconds to decode all images of the manifest on this machine's CPUs; 0 if that is not needed.
    """
    manifest, data, inputs = training.manifest, training.data, training.inputs
    shapes = decoded_shapes(training.recipe, manifest, reading)
    if not shapes:
        return 0.0
    some = data.indices[:DECODED_IMAGES]
    start = timer.now()
    pixels_NHWC = data.images[some]
    seconds = timer.now() - start
    assert isinstance(pixels_NHWC, np.ndarray)
    training.data = replace(data, images=RepeatedImages(pixels_NHWC))
    training.inputs = replace(inputs, images=RepeatedImages(inputs.images[training.evaluation.images[:DECODED_IMAGES]]))
    missing = [shape for shape in shapes if not is_decoded(manifest, *shape)]
    cpu_s = seconds * torch.get_num_threads() / len(some)
    return len(missing) * manifest.num_images * cpu_s / num_cpus()


def _checkpoint(training: TrainState, timer: Timer) -> tuple[float, float, int]:
    """Return the seconds to copy a checkpoint and to write the copy, and its size."""
    checkpoint, buffers = CurrentCheckpoint(training, 1, {}, None), Buffers()
    write = checkpoint.copied(buffers)  # allocates the buffers
    copy_s = timer.once(lambda: checkpoint.copied(buffers))
    try:
        with tempfile.TemporaryDirectory() as folder:
            write_s = timer.once(lambda: write(Path(folder)))
            return copy_s, write_s, sum(file.stat().st_size for file in Path(folder).iterdir())
    except OSError as failure:
        raise Error(
            f"A checkpoint of {training.recipe.name} cannot be written to {tempfile.gettempdir()} ({failure.strerror})."
            " Free some space there, or set TMPDIR to another folder."
        ) from failure


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
