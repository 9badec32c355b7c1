"""Section `families`: check that every family at full size runs two steps and an evaluation."""

import time
import traceback
from collections.abc import Mapping

import torch

from benchmarks.window.networks import build_parts, make_recipe, random_batch
from benchmarks.window.session import Found, Session
from benchmarks.window.timing import free
from trainables.device import Device
from trainables.training.step import Step

NUM_WORKS = 20
NUM_WORDS = 30  # size of the vocabulary, for recipes that read tags
SMALL_BATCH = {"lr": 1e-4, "works_per_batch": 4, "images_per_work": 4, "batch_size": 16}
NAMES = (
    "transreid-deit-small", "transreid-deit-stride", "transreid-vit-small", "transreid-vit-base", "transreid-vit-jpm",
    "transreid-vit-stride", "agw-resnet50", "agw-resnet50-nl", "agw-resnet50-ibn-a", "agw-se-resnext50", "dafre-224-sn",
    "dafre-128-r18", "dafre-128-b16", "animesion-b16-vilt", "icartoonface-resnet50", "open-dinov2-base",
    "open-dinov3-base", "open-siglip2-base", "open-convnext-base", "open-eva02-base", "transreid-vit-base-code",
)  # fmt: skip
CASES: tuple[tuple[str, Mapping[str, object]], ...] = (
    *((name, {}) for name in NAMES),
    *(("transreid-vit-base", {"metric_loss": loss}) for loss in ("triplet", "wrt", "wrt_agw", "circle", "supcon")),
    *(("transreid-vit-base", {"id_loss": loss, "label_smoothing": 0.0}) for loss in ("arcface", "cosface", "circle")),
    ("transreid-vit-jpm", {"sie_weight": 3.0, "center_weight": 5e-4, "clip_norm": 1.0, "optimizer": "adamw"}),
    ("transreid-vit-jpm", {"micro_batch": 6}),
    ("agw-resnet50", {"activation_checkpointing": True}),
)


def run_families(session: Session) -> Found:
    """Return losses and finiteness of each case, or its error."""
    rows = []
    for name, settings in CASES:
        try:
            rows.append(_row(session, name, settings))
        except Exception as failure:
            frames = traceback.extract_tb(failure.__traceback__)[-4:]
            at = [f"{frame.filename.split('/')[-1]}:{frame.lineno}" for frame in frames]
            text = f"{type(failure).__name__}: {str(failure)[:200]}"
            rows.append({"recipe": name, **settings, "error": text, "at": at})
            print(rows[-1], flush=True)
        free()
    bad = [row for row in rows if "error" in row or not row["finite"]]
    failures = "".join(f"; {row['recipe']} {row.get('error', 'not finite')[:60]}" for row in bad)
    session.note(f"families: {len(rows) - len(bad)} of {len(rows)} cases run{failures}")
    return {"rows": rows}


def _row(session: Session, name: str, settings: Mapping[str, object]) -> Found:
    start = time.perf_counter()
    recipe = make_recipe(session, name, **{**SMALL_BATCH, **settings})
    num_words = NUM_WORDS if getattr(recipe, "text_tokens", 0) else 0
    model, losses, optimizer = build_parts(recipe, NUM_WORKS, num_words)
    step, batch = Step(recipe, model, losses, optimizer), random_batch(recipe, NUM_WORKS, num_words).to(Device())
    values = [step(batch)["loss"].item() for _ in range(2)]
    model.eval()
    with torch.inference_mode():
        features, logits = model.embed(batch.images, batch.words), model.classify(batch.images, batch.words)
    return {
        "recipe": recipe.name,
        **settings,
        "losses": [round(value, 4) for value in values],
        "finite": bool(features.isfinite().all() and logits.isfinite().all()),
        "seconds": round(time.perf_counter() - start, 2),
    }
