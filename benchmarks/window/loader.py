"""Section `loader`: images per second of the project's loader, by reading, threads and augmentation."""

import os
import time

import numpy as np
import torch

from benchmarks.window.networks import make_recipe
from benchmarks.window.session import Found, Session
from shards_tools.manifest import Manifest
from trainables.data.batches import EpochBatches, TrainingSet
from trainables.data.reading import training_images

BATCH_SIZE = 64
LONGEST_S = 4.0  # measured of an epoch
EPOCHS = (1, 2)  # the first decodes or maps the pixels; the second is reported


def measure_loader(session: Session) -> Found:
    """Return a row per recipe, reading, number of threads and number of workers."""
    manifest, cores, rows = session.drawn(), len(os.sched_getaffinity(0)), []
    before = torch.get_num_threads()
    for name, reading, threads in _cases(session, cores):
        torch.set_num_threads(threads)
        for workers in (1, 4) if not session.tiny and reading == "decoded" else (1,):
            rows.append(_row(session, manifest, name, reading, threads, workers))
    torch.set_num_threads(before)
    for row in rows:
        session.note(
            f"loader {row['recipe']} {row['reading']} threads {row['threads']} workers {row['workers']}:"
            f" {row['images_s']} images/s"
        )
    return {"rows": rows}


def _cases(session: Session, cores: int) -> list[tuple[str, str, int]]:
    """Return recipe, reading and threads of each case."""
    cases = [("transreid-vit-base", "decoded", 1), ("transreid-vit-base", "offset", 1)]
    if not session.tiny:
        cases += [("transreid-vit-base", "offset", threads) for threads in (4, 8, cores) if threads <= cores]
    cases += [("dafre-224-b32", "decoded", 1), ("icartoonface-resnet50", "decoded", 1)]
    return cases if session.tiny else [*cases, ("dafre-224-b32", "decoded", cores)]


def _row(session: Session, manifest: Manifest, name: str, reading: str, threads: int, workers: int) -> Found:
    recipe = make_recipe(session, name, batch_size=BATCH_SIZE)
    images = training_images(recipe, manifest, reading, threads=threads)
    data = TrainingSet(images, np.arange(manifest.num_images), manifest.work.astype(np.int64), manifest.role)
    for epoch in EPOCHS:
        count, seconds, cpu_s = _read_epoch(EpochBatches(data, recipe, seed=0, epoch=epoch), workers)
    return {
        "recipe": recipe.name,
        "px": recipe.image_size,
        "reading": reading,
        "threads": threads,
        "workers": workers,
        "images_s": round(count / seconds),
        "cpus_used": round(cpu_s / seconds, 2),
    }


def _read_epoch(batches: EpochBatches, workers: int) -> tuple[int, float, float]:
    """Return images, seconds and CPU seconds of an epoch, or of the first LONGEST_S of it."""
    usage, start, count = os.times(), time.perf_counter(), 0
    for batch in batches.start(workers=workers):
        count += len(batch.labels)
        if time.perf_counter() - start > LONGEST_S:
            break
    seconds, now = time.perf_counter() - start, os.times()
    return count, seconds, now.user + now.system - usage.user - usage.system
