"""Sections `step` and `compile`: the training step at full size, variant by variant."""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._dynamo.utils import counters

from benchmarks.upstream_models import UPSTREAM, UpstreamStep
from benchmarks.window.networks import (
    NUM_WORKS,
    build_parts,
    make_recipe,
    operations,
    random_batch,
    training_batches,
)
from benchmarks.window.session import DEVICE, Found, Session
from benchmarks.window.timing import clock, free, peak_memory, synchronize, tf32
from benchmarks.window.variants import CNN, COMPILED, STEPS, VIT, Variant
from trainables.data.batches import Batch
from trainables.device import Device
from trainables.training.step import Step

PEAK_BF16 = 989e12  # FLOP/s of an H200, dense, from NVIDIA's data sheet
LR = 1e-6  # random pixels must not drive the loss to infinity
FEW_STEPS = 5  # variants with at most this many steps per round are slow and get fewer rounds


def measure_steps(session: Session) -> Found:
    """Return the current eager step, the step with each possible speed-up, and upstream's plain step."""
    rows = [_row(session, variant) for variant in STEPS]
    rows += [_attempt(name, "upstream", partial(_upstream_row, session, name)) for name in (VIT, CNN)]
    free()
    return {"rows": rows}


def measure_compiled(session: Session) -> Found:
    """Return the compiled step: seconds to compile, seconds per step afterwards, and graph breaks."""
    rows = []
    compile_quickly = partial(torch.compile, backend="aot_eager")  # tiny: no kernels are generated
    tiny = mock.patch.object(torch, "compile", compile_quickly) if session.tiny else contextlib.nullcontext()
    with tiny:
        for variant in COMPILED:
            torch._dynamo.reset()
            counters.clear()
            row = _row(session, variant)
            row["graph_breaks"] = {key[:80]: count for key, count in counters["graph_break"].items()}
            row["frames"] = dict(counters["frames"])
            rows.append(row)
    torch._dynamo.reset()
    free()
    return {"rows": rows}


def _row(session: Session, variant: Variant) -> Found:
    return _attempt(variant.recipe, variant.label, partial(_variant_row, session, variant))


def _attempt(recipe: str, label: str, measure: Callable[[], Found]) -> Found:
    """Return a row, or its error: the failure of one variant does not affect the others."""
    try:
        return measure()
    except Exception as failure:
        row = {"recipe": recipe, "variant": label, "error": f"{type(failure).__name__}: {str(failure)[:300]}"}
        print(row, flush=True)
        return row


def _variant_row(session: Session, variant: Variant) -> Found:
    free()
    recipe = make_recipe(session, variant.recipe, lr=LR, **variant.settings)
    with tf32(variant.tf32):
        start = time.perf_counter()
        step = Step(recipe, *build_parts(recipe))
        with contextlib.closing(training_batches(session, recipe)) as loaded:
            run = partial(_next_step, step, _feed(variant, random_batch(recipe), loaded))
            run()
            synchronize()
            first_step_s = time.perf_counter() - start
            seconds, spread = clock(run, **_repetitions(session, variant))
    training, _ = operations(make_recipe(session, variant.recipe))
    rate = training * recipe.batch_size / seconds
    row = {
        "recipe": recipe.name,
        "variant": variant.label,
        "ms": round(1e3 * seconds, 2),
        "spread": round(spread, 3),
        "images_s": round(recipe.batch_size / seconds, 1),
        "tflops": round(rate / 1e12, 1),
        "of_measured": round(rate / session.rates["bf16"], 3) if session.rates else None,
        "mfu_of_989": round(rate / PEAK_BF16, 3),
        "first_step_s": round(first_step_s, 1),
        **peak_memory(),
    }
    session.note(
        f"step {recipe.name:24} {variant.label:44} {row['ms']:8.2f} ms {row['images_s']:9.1f} images/s"
        f" {row['of_measured'] or 0:6.1%}"
    )
    return row


def _feed(variant: Variant, batch: Batch, loaded: Iterator[Batch]) -> Iterator[Batch]:
    """Yield batches on the device, fed as the variant sets it."""
    device = Device()
    if variant.feed == "resident":
        return itertools.repeat(batch.to(device))
    host = itertools.repeat(batch) if variant.feed == "host" else loaded
    return (each.to(device) for each in host)


def _next_step(step: Step, batches: Iterator[Batch]) -> None:
    step(next(batches))


def _repetitions(session: Session, variant: Variant) -> dict[str, int]:
    times = variant.times or (2 if session.tiny else 12)
    if session.tiny:
        return {"times": times, "rounds": 2, "warm_up": 1}
    return {"times": times, "rounds": 5 if times > FEW_STEPS else 3, "warm_up": 6 if times > FEW_STEPS else 2}


def _upstream_row(session: Session, name: str) -> Found:
    """Return upstream's step, reimplemented in benchmarks/upstream_models.py; in float16 on a GPU, as in their code."""
    free()
    # the reimplementation of AGW only supports timm's networks
    backbone = {"backbone": "resnet50"} if session.tiny and name == CNN else {}
    recipe = make_recipe(session, name, lr=LR, **backbone)
    model = UPSTREAM[recipe.system](recipe, NUM_WORKS).to(DEVICE).train()
    batch = random_batch(recipe).to(Device())
    images_BCHW = _normalized(batch.images, recipe)
    step = partial(UpstreamStep(recipe, model, DEVICE), images_BCHW, batch.labels)
    repetitions = (1, 2, 1) if session.tiny else (8, 3, 5)
    seconds, spread = clock(step, repetitions[0], rounds=repetitions[1], warm_up=repetitions[2])
    training, _ = operations(recipe)
    images_s = recipe.batch_size / seconds
    row = {
        "recipe": recipe.name,
        "variant": "upstream's plain step, fp16",
        "ms": round(1e3 * seconds, 2),
        "images_s": round(images_s, 1),
        "spread": round(spread, 3),
        "tflops_of_our_count": round(training * images_s / 1e12, 1),
        **peak_memory(),
    }
    session.note(f"step {recipe.name:24} {'upstream, plain, fp16':44} {row['ms']:8.2f} ms {images_s:9.1f} images/s")
    return row


def _normalized(images_BHWC: Tensor, recipe: Any) -> Tensor:
    images_BCHW = images_BHWC.permute(0, 3, 1, 2).float().contiguous() / 255
    mean, std = (torch.tensor(value, device=DEVICE)[:, None, None] for value in (recipe.pixel_mean, recipe.pixel_std))
    return (images_BCHW - mean) / std
