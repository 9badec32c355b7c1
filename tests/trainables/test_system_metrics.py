"""What a report says of the machine: MLflow's own names, and numbers that psutil and Linux give too."""

import re
import time
from pathlib import Path

import pytest
import torch
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor

from trainables.metric_names import CPU, MEMORY, MEMORY_MB, SYSTEM
from trainables.system_metrics import load

CPU_DEVICE = torch.device("cpu")


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
