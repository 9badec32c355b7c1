"""Sections `waits` and `profile`: where the host waits for the device, and which kernels keep the device busy."""

import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

from benchmarks.window.networks import build_step, make_recipe, random_batch
from benchmarks.window.session import ON_GPU, Found, Session
from benchmarks.window.timing import free, synchronize
from trainables.device import Device

LR = 1e-6  # random pixels must not drive the loss to infinity
WATCHED = {
    "transreid-vit-stride": {},
    "agw-resnet50-nl": {"center_weight": 5e-4},
    "open-dinov2-base": {},
}
PROFILED = ("transreid-vit-stride", "agw-resnet50-nl")
NUM_PROFILED = 3  # steps
NUM_TOP = 15  # kernels to list
SPANS = ("Optimizer.", "ProfilerStep", "DistributedDataParallel")  # events that contain kernels
# kind of kernel -> parts of its name, searched in this order
KINDS = {
    "matrix products": ("gemm", "nvjet", "cutlass", "xmma", "wgmma", "addmm", "aten::mm"),
    "attention": ("flash", "fmha", "attention"),
    "convolutions": ("conv", "cudnn", "wgrad", "dgrad", "implicit"),
    "norms": ("layer_norm", "layernorm", "batch_norm", "bn_fw", "bn_bw", "norm_kernel"),
    "copies": ("memcpy", "memset", "copy"),
    "optimizer": ("fused_sgd", "fused_adam", "multi_tensor", "fusedadam", "fusedsgd"),
    "random": ("distribution", "philox", "normal_", "bernoulli"),
    "elementwise": ("elementwise", "vectorized", "unrolled", "triton"),
    "reductions": ("reduce",),
}


def watch_waits(session: Session) -> Found:
    """Return the lines of one training step that wait for the device, and its nondeterministic operations."""
    found: Found = {} if ON_GPU else {"waits": "needs a GPU"}
    for name, settings in WATCHED.items():
        free()
        recipe = make_recipe(session, name, lr=LR, works_per_batch=4, **settings)
        step, batch = build_step(recipe), random_batch(recipe)
        run = partial(_run, step, batch)
        run()
        synchronize()
        if ON_GPU:
            waits = [warning for warning in _caught(run, _warn_of_waits) if "synchroniz" in str(warning.message)]
            found[name] = dict(Counter(f"{'/'.join(w.filename.split('/')[-2:])}:{w.lineno}" for w in waits))
        texts = [str(warning.message) for warning in _caught(run, _warn_of_chance)]
        found[f"{name}, not deterministic"] = sorted({text[:100] for text in texts if "determinis" in text})
    free()
    return found


def _run(step: Callable[..., object], batch: Any) -> None:
    step(batch.to(Device()))


def _warn_of_waits(on: bool) -> None:
    torch.cuda.set_sync_debug_mode("warn" if on else "default")


def _warn_of_chance(on: bool) -> None:
    torch.use_deterministic_algorithms(on, warn_only=True)


def _caught(run: Callable[[], None], warn: Callable[[bool], None]) -> list[warnings.WarningMessage]:
    """Return the warnings of a run with a kind of warning switched on."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn(True)
        run()
        synchronize()
        warn(False)
    return caught


def profile_steps(session: Session) -> Found:
    """Return how busy the device is during a training step, and with which kernels."""
    found = {}
    for name in PROFILED:
        free()
        recipe = make_recipe(session, name, lr=LR)
        run = partial(_run, build_step(recipe), random_batch(recipe))
        for _ in range(1 if session.tiny else 5):
            run()
        synchronize()
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if ON_GPU else [])]
        start = time.perf_counter()
        with profile(activities=activities) as seen:
            for _ in range(NUM_PROFILED):
                run()
            synchronize()
        wall_s = time.perf_counter() - start
        found[recipe.name] = _summary([event for event in seen.events() or [] if _is_kernel(event)], wall_s)
    free()
    return found


def _is_kernel(event: Any) -> bool:
    on_device = not ON_GPU or event.device_type == DeviceType.CUDA
    return on_device and not event.name.startswith(SPANS)


def _summary(events: list[Any], wall_s: float) -> Found:
    counts: Counter[str] = Counter()
    micros: defaultdict[str, float] = defaultdict(float)
    kinds: defaultdict[str, float] = defaultdict(float)
    for event in events:
        name, lasted = event.name[:80], event.time_range.end - event.time_range.start
        counts[name] += 1
        micros[name] += lasted
        kinds[kind_of(event.name)] += lasted
    top = sorted(micros, key=lambda name: -micros[name])[:NUM_TOP]
    busy = busy_micros((event.time_range.start, event.time_range.end) for event in events)
    per_step_ms = 1e3 * NUM_PROFILED
    return {
        "wall_ms_per_step": round(1e3 * wall_s / NUM_PROFILED, 2),
        "busy_share_of_wall": round(busy / 1e6 / wall_s, 3),
        "events_per_step": len(events) / NUM_PROFILED,
        "ms_per_step_by_kind": {
            kind: round(kinds[kind] / per_step_ms, 2) for kind in sorted(kinds, key=lambda kind: -kinds[kind])
        },
        "top": [(name, counts[name] / NUM_PROFILED, round(micros[name] / per_step_ms, 3)) for name in top],
    }


def busy_micros(spans: Iterable[tuple[float, float]]) -> float:
    """Return the length of the union of time spans."""
    busy = last = 0.0
    for start, end in sorted(spans):
        busy += max(0.0, end - max(start, last))
        last = max(last, end)
    return busy


def kind_of(kernel: str) -> str:
    """Return the kind of a kernel from its name."""
    name = kernel.lower()
    return next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), "other")
