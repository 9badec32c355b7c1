"""Measure the load of the machine that trains, under the metric names of MLflow's system metrics page."""

import psutil
import torch

from trainables.metric_names import CPU, GPU_MEMORY, GPU_MEMORY_MB, MEMORY, MEMORY_MB


def load(device: torch.device) -> dict[str, float]:
    """Return CPU utilization in percent since the last call and memory use now; on a GPU also its memory use.

    Use by other processes is included.
    """
    memory = psutil.virtual_memory()
    found = {
        CPU: psutil.cpu_percent(),
        MEMORY_MB: memory.used / 1e6,
        MEMORY: 100 * memory.used / memory.total,
    }
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        found |= {GPU_MEMORY_MB: (total - free) / 1e6, GPU_MEMORY: 100 * (total - free) / total}
    return found
