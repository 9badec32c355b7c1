"""Several processes that read one decoded cache, as the trials of a machine do."""

import multiprocessing
import os
import statistics
from collections.abc import Iterable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import torch

from shards_tools.images import open_images
from shards_tools.manifest import Manifest
from shards_tools.manifest_file import read_manifest
from trainables.batches import training_batches
from trainables.recipes import get_recipe
from trainables.recipes.recipe import override

NUM_PASSES = 24
NUM_TURNS = 5
processes = multiprocessing.get_context("spawn")


def four_beside_one(manifest: Manifest, size: int) -> tuple[float, float]:
    """Throughput per CPU-second of four at once over one's, and the largest share of the pixels that one copied."""
    pixel_bytes = manifest.num_images * size * size * 3
    ratios, copies = [], []
    for _ in range(NUM_TURNS):
        (alone, _), *_ = _run(manifest, size, 1)
        four = _run(manifest, size, 4)
        ratios.append(statistics.mean(speed for speed, _ in four) / alone)
        copies += [grown / pixel_bytes for _, grown in four]
    return statistics.median(ratios), max(copies)


def _run(manifest: Manifest, size: int, number: int) -> list[tuple[float, int]]:
    barrier, results = processes.Barrier(number), processes.Queue()
    arguments = (str(manifest.store), size, barrier, results)
    readers = [processes.Process(target=_read_all, args=arguments) for _ in range(number)]
    for reader in readers:
        reader.start()
    found = [results.get() for _ in readers]
    for reader in readers:
        reader.join()
    return found


def _read_all(address: str, size: int, barrier: Barrier, results: "Queue[tuple[float, int]]") -> None:
    torch.set_num_threads(1)
    manifest = read_manifest(address)
    recipe = override(get_recipe("transreid-vit-base"), {"image_size": size, "pretrained": False})
    images = open_images(manifest, size, size, "decoded")
    indices, works = np.arange(manifest.num_images), manifest.work.astype(np.int64)
    barrier.wait()
    own_before, before, num_images = _own_bytes(), os.times(), 0
    for epoch in range(1, NUM_PASSES + 1):
        batches = training_batches(images, indices, works, manifest.role, recipe, seed=0, epoch=epoch)
        num_images += sum(len(works_B) for _, works_B in batches)
    after = os.times()
    results.put((num_images / (after.user + after.system - before.user - before.system), _own_bytes() - own_before))
    barrier.wait()


def _own_bytes() -> int:
    """Memory that this process shares with nobody and no file: what /proc calls anonymous."""
    lines: Iterable[str] = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:"))
