"""Section `share`: processes that share the GPU, each within its fraction."""

import os
import subprocess
import time

import torch

from benchmarks.window.children import Child
from benchmarks.window.networks import build_step, make_recipe, random_batch
from benchmarks.window.session import DEVICE, ON_GPU, Found, Session
from benchmarks.window.timing import peak_memory, used_bytes
from trainables.device import Device
from trainables.profiling.resource_usage import keep_to_share, share_bytes

FRACTION = 0.25
LONGEST_S = 150.0  # of a child
PROCESSES = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader"]


def measure_sharing(session: Session) -> Found:
    """Return the speed of one process and of several at once, and what happens if one allocates too much."""
    seconds, num_children, start_s = (3, 2, 12) if session.tiny else (12, 4, 25)
    alone = Child(session, "share", fraction=1.0, seconds=seconds, start=0.0).result(LONGEST_S)
    start = time.time() + start_s  # by then all have started and warmed up
    children = [Child(session, "share", fraction=FRACTION, seconds=seconds, start=start) for _ in range(num_children)]
    together = [child.result(LONGEST_S) for child in children]
    greedy = Child(session, "greedy", fraction=FRACTION).result(LONGEST_S)
    driver = Child(session, "driver").result(LONGEST_S)
    speed, alone_speed = sum(child.get("images_s", 0) for child in together), alone.get("images_s", 0)
    session.note(f"share: {num_children} at a time {speed:.0f} images/s, alone {alone_speed:.0f}; greedy: {greedy}")
    ratio = speed / alone_speed if alone_speed else None
    return {"alone": alone, "together": together, "greedy": greedy, "driver": driver, "together_of_alone": ratio}


def train_in_share(session: Session, fraction: float, seconds: float, start: float) -> Found:
    """Train within a fraction of the GPU for some seconds from `start` on, and return the speed; runs in a child."""
    keep_to_share(fraction)
    recipe = make_recipe(session, "transreid-vit-base", lr=1e-6)
    step, batch, device = build_step(recipe), random_batch(recipe), Device()
    for _ in range(2 if session.tiny else 8):
        step(batch.to(device))
    time.sleep(max(0.0, start - time.time()))
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        step(batch.to(device))
        count += 1
    images_s = count * recipe.batch_size / (time.perf_counter() - begun)
    found: Found = {"images_s": round(images_s, 1), **peak_memory()}
    if ON_GPU:
        outside = used_bytes() - torch.cuda.memory_reserved()
        found["outside_allocator_gb_if_alone"] = round(outside / 1e9, 3)
        found["smi"] = _processes_on_gpu()
    return found


def ask_for_too_much(session: Session, fraction: float) -> Found:
    """Allocate half of a process's share, then all of its fraction, and return what happens; runs in a child."""
    if not ON_GPU:
        return {"skipped": "needs a GPU"}
    keep_to_share(fraction)
    total_bytes = torch.cuda.get_device_properties(0).total_memory
    return {
        "half of the share": _allocate(share_bytes(fraction, total_bytes) // 2),
        "all of the fraction": _allocate(int(fraction * total_bytes)),
    }


def _allocate(num_bytes: int) -> str:
    try:
        torch.empty(num_bytes, dtype=torch.uint8, device=DEVICE)
    except torch.cuda.OutOfMemoryError as full:
        return f"OutOfMemoryError: {str(full)[:160]}"
    return "held"


def ask_for_name(session: Session) -> Found:
    """Return the GPU memory of a process that only queries the GPU's name, like a search's driver; runs in a child."""
    if not ON_GPU:
        return {"skipped": "needs a GPU"}
    found: Found = {"pid": os.getpid(), "before": _processes_on_gpu()}
    found["name"] = torch.cuda.get_device_name(0)
    found["after_name"] = _processes_on_gpu()
    torch.zeros(1, device=DEVICE)
    found["after_a_tensor"] = _processes_on_gpu()
    found["used_gb_after_a_tensor"] = used_bytes() / 1e9
    return found


def _processes_on_gpu() -> str:
    return subprocess.run(PROCESSES, capture_output=True, text=True).stdout.strip()[:300]
