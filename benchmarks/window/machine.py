"""Sections `env` and `ceilings`: describe the machine, and measure how fast it multiplies and copies."""

import importlib
import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import torch

from benchmarks.window.session import DEVICE, ON_GPU, Found, Session
from benchmarks.window.timing import clock, free, tf32

PACKAGES = (
    "torch", "torchvision", "timm", "numpy", "pillow", "triton", "simplejpeg", "webdataset", "pytorch-metric-learning",
    "safetensors", "psutil", "tqdm", "urllib3", "ray", "optuna", "mlflow", "scipy", "sqlalchemy",
)  # fmt: skip
MODULES = (
    "trainables.training.loop", "trainables.profiling.measure_step", "trainables.inference.prediction",
    "shards_tools.images", "platform.search",
)  # fmt: skip
PRECISIONS = (
    ("bf16", torch.bfloat16, True),
    ("fp16", torch.float16, True),
    ("fp32", torch.float32, False),
    ("tf32", torch.float32, True),
)


def describe_machine(session: Session) -> Found:
    """Return versions, the GPU, and which parts of the project can be imported."""
    shm = Path("/dev/shm")
    return {
        "python": sys.version.split()[0],
        "versions": {name: _version(name) for name in PACKAGES},
        "imports": {name: _import(name) for name in MODULES},
        "card": _card() if ON_GPU else {},
        "cpus": len(os.sched_getaffinity(0)),
        "dev_shm_gb": shutil.disk_usage(shm).total / 1e9 if shm.exists() else None,
        "cc": shutil.which("cc") or shutil.which("gcc"),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _import(module: str) -> str:
    try:
        importlib.import_module(module)
    except Exception as failure:
        spec = find_spec(module.partition(".")[0])
        return f"{type(failure).__name__}: {str(failure)[:120]} ({spec and spec.origin})"
    return "ok"


def _card() -> Found:
    properties = torch.cuda.get_device_properties(0)
    found = {"name": properties.name, "sms": properties.multi_processor_count, "gb": properties.total_memory / 1e9}
    smi = shutil.which("nvidia-smi")
    if smi:
        query = "--query-gpu=driver_version,clocks.sm,clocks.mem,memory.used"
        words = [smi, query, "--format=csv,noheader"]
        found["smi"] = subprocess.run(words, capture_output=True, text=True, timeout=20).stdout.strip()
    return found


def measure_ceilings(session: Session) -> Found:
    """Return the rates of large matrix products and of copies; other sections report shares of them."""
    width = 512 if session.tiny else 8192
    found: Found = {}
    for name, dtype, allowed in PRECISIONS:
        session.rates[name] = _matrix_rate(width, dtype, allowed, times=3 if name == "fp32" else 10)
        found[f"{name}_tflops"] = round(session.rates[name] / 1e12, 2)
    found["device_copy_tb_s"] = round(_copy_rate(1 << (20 if session.tiny else 30)) / 1e12, 3)
    free()
    return {**found, **_batch_copies()}


def _matrix_rate(width: int, dtype: torch.dtype, allowed: bool, times: int) -> float:
    """Return FLOP/s."""
    with tf32(allowed):
        left, right = (torch.randn(width, width, device=DEVICE).to(dtype) for _ in range(2))
        seconds, _ = clock(lambda: left @ right, times)
    return 2 * width**3 / seconds


def _copy_rate(num_elements: int) -> float:
    """Return bytes read and written per second within the device's memory."""
    source = torch.randn(num_elements, device=DEVICE)
    target = torch.empty_like(source)
    seconds, _ = clock(lambda: target.copy_(source), 5)
    return 2 * source.numel() * source.element_size() / seconds


def _batch_copies() -> Found:
    batch = torch.randint(256, (64, 256, 256, 3), dtype=torch.uint8)
    found = {"batch_mb": batch.numel() / 1e6, "h2d_pageable_ms": round(1e3 * clock(lambda: batch.to(DEVICE), 10)[0], 3)}
    if ON_GPU:
        pinned = batch.pin_memory()
        found["h2d_pinned_ms"] = round(1e3 * clock(lambda: pinned.to(DEVICE, non_blocking=True), 10)[0], 3)
        found["copy_to_pinned_ms"] = round(1e3 * clock(lambda: pinned.copy_(batch), 10)[0], 3)
    return found
