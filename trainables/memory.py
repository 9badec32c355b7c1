"""How much memory a training takes at most, of a process that may have had others before it."""

import contextlib
import resource
import sys
from pathlib import Path

import torch

# Where Linux takes the order to count a process's largest resident memory anew; see proc(5), "clear_refs".
PEAK_RESET = Path("/proc/self/clear_refs")
RESET_PEAK = "5"


def forget_peaks(device: torch.device) -> None:
    """Count from here on; where the system cannot, the peak stays that of all trainings of the process."""
    with contextlib.suppress(OSError):
        PEAK_RESET.write_text(RESET_PEAK)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peaks(device: torch.device) -> dict[str, float]:
    """The largest resident memory of the process in MB, and on a GPU the largest that tensors took there."""
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    sizes = {"rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6}
    if device.type == "cuda":
        sizes["gpu_mb"] = torch.cuda.max_memory_allocated(device) / 1e6
    return sizes
