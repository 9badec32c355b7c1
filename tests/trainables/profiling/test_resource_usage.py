"""A training keeps to its share of a GPU, and what it says of its memory and its machine is true.

No GPU is needed: what CUDA answers is written in, as of a card of 80 GB. The names are MLflow's own, and psutil and
Linux give the same numbers.
"""

import mmap
import re
import time
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor

from trainables.device import Device
from trainables.evaluation.metric_names import CPU, MEMORY, MEMORY_MB, SYSTEM
from trainables.profiling.resource_usage import (
    CONTEXT_BYTES,
    PEAK_RESET,
    WORKSPACE_BYTES,
    forget_peaks,
    freed_gpu,
    keep_to_share,
    load,
    peaks,
    share_bytes,
)

GB = 10**9
CPU_DEVICE = Device("cpu")


def test_shares_and_the_contexts_of_all_that_share_fit_on_the_gpu() -> None:
    for num in (2, 3, 4):
        assert num * (share_bytes(1 / num, 80 * GB) + CONTEXT_BYTES) <= 80 * GB
    assert share_bytes(1.0, 80 * GB) == share_bytes(2, 80 * GB) == 80 * GB
    assert share_bytes(0.25, GB) == 0


@pytest.mark.parametrize(("fraction", "limit"), [(0.5, [0.49]), (0.25, [0.24]), (1.0, [1]), (2.0, [1]), (0.0, [])])
def test_only_whoever_shares_is_limited_also_after_a_trial_that_shared(
    fraction: float, limit: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=80 * GB))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, _: limits.append(share))
    keep_to_share(fraction)
    assert limits == pytest.approx(limit)


def test_without_a_gpu_nothing_is_limited() -> None:
    keep_to_share(0.5)


@pytest.mark.parametrize(
    ("leaked_bytes", "is_freed"), [(0, True), (WORKSPACE_BYTES, True), (2 * WORKSPACE_BYTES, False)]
)
def test_a_gpu_is_freed_once_nothing_refers_to_a_training_and_the_cache_is_empty(
    leaked_bytes: int, is_freed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Model:
        def __init__(self) -> None:
            self.itself = self  # freed by the garbage collector only

    model = Model()
    gone = weakref.ref(model)
    did = []
    monkeypatch.setattr(Device, "was_used", staticmethod(lambda: True))
    monkeypatch.setattr(Device, "synchronize", lambda _: did.append("synchronize"))
    monkeypatch.setattr(Device, "release_memory", lambda _: did.append(f"empty, model {gone()}"))
    monkeypatch.setattr(Device, "allocated_bytes", lambda _: leaked_bytes)
    del model
    assert freed_gpu() == is_freed
    assert did == ["synchronize", "empty, model None"]


def test_a_process_without_a_gpu_has_always_freed_it() -> None:
    assert freed_gpu()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_training_leaves_no_more_than_workspaces_on_a_gpu() -> None:
    model = torch.nn.Linear(1000, 1000, device="cuda")
    model(torch.randn(100, 1000, device="cuda")).sum().backward()
    kept = torch.empty(2 * WORKSPACE_BYTES, dtype=torch.uint8, device="cuda")
    assert not freed_gpu()
    del kept, model
    assert freed_gpu()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_what_is_more_than_the_share_is_out_of_memory() -> None:
    total_bytes = torch.cuda.get_device_properties(0).total_memory
    keep_to_share(0.25)
    try:
        with pytest.raises(torch.cuda.OutOfMemoryError):
            torch.empty(int(0.25 * total_bytes), dtype=torch.uint8, device="cuda")
        torch.empty(share_bytes(0.25, total_bytes) // 2, dtype=torch.uint8, device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.skipif(not PEAK_RESET.exists(), reason="the system cannot count anew")
def test_memory_that_was_given_back_before_is_not_counted() -> None:
    """A process trains one trial after another."""
    forget_peaks(CPU_DEVICE)  # of the tests before
    with mmap.mmap(-1, 300_000_000) as large:  # unlike an array, it surely returns its memory
        np.frombuffer(large, np.uint8)[:] = 1
        with_it = peaks(CPU_DEVICE)["rss_mb"]
    assert peaks(CPU_DEVICE)["rss_mb"] == with_it
    forget_peaks(CPU_DEVICE)
    assert peaks(CPU_DEVICE)["rss_mb"] < with_it - 250


def test_names_are_those_that_mlflow_logs_itself() -> None:
    monitor = CPUMonitor()
    monitor.collect_metrics()
    assert set(load(CPU_DEVICE)) == {f"system/{name}" for name in monitor.metrics}
    assert set(load(CPU_DEVICE)) < set(SYSTEM)


def test_memory_is_what_the_kernel_says() -> None:
    sizes = {name: int(kb) for name, kb in re.findall(r"(\w+): +(\d+) kB", Path("/proc/meminfo").read_text())}
    found = load(CPU_DEVICE)
    used_mb = (sizes["MemTotal"] - sizes["MemAvailable"]) * 1024 / 1e6
    assert found[MEMORY_MB] == pytest.approx(used_mb, rel=0.2, abs=500)
    assert found[MEMORY] == pytest.approx(100 * found[MEMORY_MB] * 1e6 / (sizes["MemTotal"] * 1024), rel=0.01)


def test_a_machine_that_works_is_busier_than_not_at_all() -> None:
    load(CPU_DEVICE)
    end = time.perf_counter() + 0.3
    while time.perf_counter() < end:
        pass
    assert 0 < load(CPU_DEVICE)[CPU] <= 100
