"""What a training uses: its fraction of a GPU, which is enforced, its peak memory, and the load of its machine."""

import contextlib
import gc
import resource
import sys
from pathlib import Path

import psutil
import torch

from trainables.device import Device
from trainables.evaluation.metric_names import CPU, GPU_MEMORY, GPU_MEMORY_MB, MEMORY, MEMORY_MB

# The CUDA context and the kernels and workspaces of its libraries, which the allocator does not count: 0.5 GB with
# PyTorch's usual libraries on a data-center GPU, plus a reserve for what they load later.
CONTEXT_BYTES = 800_000_000
# cuBLAS keeps a workspace in PyTorch's allocator for each thread that has multiplied matrices: 32 MiB on Hopper, 8 MiB
# before, for the forward and the backward thread.
WORKSPACE_BYTES = 128 * 2**20
# Writing here makes Linux reset the process's peak resident memory; see proc(5), "clear_refs".
PEAK_RESET = Path("/proc/self/clear_refs")
RESET_PEAK = "5"


def share_bytes(fraction: float, total_bytes: int) -> int:
    """Return how many bytes of a GPU's `total_bytes` the tensors of a training may take; all if fraction >= 1."""
    return total_bytes if fraction >= 1 else max(int(fraction * total_bytes) - CONTEXT_BYTES, 0)


def keep_to_share(fraction: float) -> None:
    """Limit this process to its fraction of the GPU, so that other trainings on it are safe.

    PyTorch's allocator enforces it: larger allocations raise torch.OutOfMemoryError. A fraction of 1 or more lifts the
    limit of an earlier training in this process.
    """
    device = Device()
    if fraction > 0 and device.is_gpu:
        device.limit_memory(share_bytes(fraction, device.total_bytes()))


def freed_gpu() -> bool:
    """Free what the earlier trainings of this process held, and return whether all of their GPU memory came back."""
    torch.compiler.reset()  # it compiles one function a few times only
    if not Device.was_used():
        return True
    device = Device()
    gc.collect()  # a model is part of reference cycles
    device.synchronize()  # raises if an earlier training left the GPU in an error state
    device.release_memory()
    return device.allocated_bytes() <= WORKSPACE_BYTES


def forget_peaks(device: Device) -> None:
    """Reset the peaks of earlier trainings; if the system cannot, the resident peak covers all of the process."""
    with contextlib.suppress(OSError):
        PEAK_RESET.write_text(RESET_PEAK)
    device.forget_peak()


def peaks(device: Device) -> dict[str, float]:
    """Return the peak memory of a training.

    Returns:
        In MB of 10^6 bytes: the resident memory of the process as `rss_mb` and, on a GPU, its tensors as `gpu_mb`.
    """
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    sizes = {"rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6}
    if device.is_gpu:
        sizes["gpu_mb"] = device.peak_bytes() / 1e6
    return sizes


def load(device: Device) -> dict[str, float]:
    """Return CPU utilization in percent since the last call and memory use now; on a GPU also its memory use.

    The names are MLflow's for system metrics. Use by other processes is included.
    """
    memory = psutil.virtual_memory()
    found = {
        CPU: psutil.cpu_percent(),
        MEMORY_MB: memory.used / 1e6,
        MEMORY: 100 * memory.used / memory.total,
    }
    if device.is_gpu:
        free, total = device.free_bytes(), device.total_bytes()
        found |= {GPU_MEMORY_MB: (total - free) / 1e6, GPU_MEMORY: 100 * (total - free) / total}
    return found
