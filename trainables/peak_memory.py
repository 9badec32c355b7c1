"""Measure the peak memory of a training, in a process that may have run others before."""

import contextlib
import resource
import sys
from pathlib import Path

import torch

# Writing here makes Linux reset the process's peak resident memory; see proc(5), "clear_refs".
PEAK_RESET = Path("/proc/self/clear_refs")
RESET_PEAK = "5"


def forget_peaks(device: torch.device) -> None:
    """Reset the peaks. If the system cannot, the resident peak covers all trainings of the process."""
    with contextlib.suppress(OSError):
        PEAK_RESET.write_text(RESET_PEAK)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peaks(device: torch.device) -> dict[str, float]:
    """Return the peak resident memory of the process and, on a GPU, the peak of its tensors, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    sizes = {"rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6}
    if device.type == "cuda":
        sizes["gpu_mb"] = torch.cuda.max_memory_allocated(device) / 1e6
    return sizes
