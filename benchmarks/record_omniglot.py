"""Record the trainings of `benchmarks/omniglot.py`: a grid of the `agw` space on Omniglot, the mAP after each epoch.

The table was recorded before anything was tuned on it. A row is appended when its training ends; run the same command
again to resume.

Run: python benchmarks/record_omniglot.py SHARDS, built of Omniglot with `python -m shards_tools build lsasrd`; it
trains on fold 0. A row takes 28 s of one CPU; there are 168.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna

# Appended, because `platform` must first resolve to the standard library's.
sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.omniglot import EPOCHS, LEVELS, TABLE
from platform.spaces.loading import load_space
from shards_tools.manifest_file import read_manifest
from trainables.training.loop import run_epoch
from trainables.training.loss_reader import NonFiniteLoss
from trainables.training.train_state import prepare

IMAGE_SIZE = 32


def training(shards: str, levels: Mapping[str, Any]) -> Iterator[float]:
    """Train, and yield the mAP after each epoch; 0 once its loss is not finite."""
    space = load_space("agw", "tiny")
    point = {**space.baselines["hand-set"], "image_size": IMAGE_SIZE, **levels}
    recipe = space.recipe(optuna.trial.FixedTrial(point), EPOCHS)
    running = prepare(recipe, read_manifest(shards), fold=0, seed=0)
    for epoch in range(1, EPOCHS + 1):
        try:
            yield round(run_epoch(running, epoch)["mAP"], 6)
        except NonFiniteLoss:
            yield from [0.0] * (EPOCHS + 1 - epoch)
            return


def record(job: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Train once; return the levels, and the mAP after each epoch."""
    import torch

    torch.set_num_threads(1)
    shards, levels = job
    return {**levels, "mAP": list(training(shards, levels))}


def main() -> None:
    """Record the missing rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="?")
    parser.add_argument("--out", type=Path, default=TABLE)
    options = parser.parse_args()
    if options.shards is None:
        print(f"skipped: the table is {options.out.name}; to record it, pass shards of Omniglot")
        return
    rows = [json.loads(line) for line in options.out.open()] if options.out.exists() else []
    done = {tuple(row[name] for name in LEVELS) for row in rows}
    left = [point for point in itertools.product(*LEVELS.values()) if point not in done]
    jobs = [(options.shards, dict(zip(LEVELS, point, strict=True))) for point in left]
    with multiprocessing.get_context("spawn").Pool() as pool, options.out.open("a") as file:
        for number, row in enumerate(pool.imap_unordered(record, jobs), start=len(done) + 1):
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(number, row, flush=True)


if __name__ == "__main__":
    main()
