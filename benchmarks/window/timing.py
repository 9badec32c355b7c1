"""Clocks and memory numbers of the GPU window."""

import contextlib
import gc
import statistics
import time
from collections.abc import Callable, Iterator

import torch

from benchmarks.window.session import ON_GPU, Found


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if ON_GPU:
        torch.cuda.synchronize()


def free() -> None:
    """Release cached GPU memory and reset its peaks."""
    gc.collect()
    if ON_GPU:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def clock(run: Callable[[], object], times: int, *, rounds: int = 3, warm_up: int = 3) -> tuple[float, float]:
    """Return the seconds per run (the median over rounds of `times` runs), and the slowest over the fastest round."""
    for _ in range(warm_up):
        run()
    synchronize()
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(times):
            run()
        synchronize()
        found.append((time.perf_counter() - start) / times)
    return statistics.median(found), max(found) / min(found)


def peak_memory() -> Found:
    """Return the peak GPU memory since `free`; empty on a CPU."""
    if not ON_GPU:
        return {}
    return {
        "peak_allocated_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2),
        "peak_reserved_gb": round(torch.cuda.max_memory_reserved() / 1e9, 2),
    }


def used_bytes() -> int:
    """Return the GPU memory used by all processes; 0 on a CPU."""
    if not ON_GPU:
        return 0
    free_bytes, total_bytes = torch.cuda.mem_get_info()
    return total_bytes - free_bytes


@contextlib.contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Allow TF32 in float32 matrix products, or forbid it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
