"""A recorded table of full trainings: a grid of the `agw` space on Omniglot, with the mAP after each epoch.

`benchmarks/search.py` looks trainings up in it, so that whole searches take seconds. It was recorded before anything
was tuned on it. A row is appended when its training ends; run the same command again to resume.

Run: python benchmarks/omniglot_table.py SHARDS, built of Omniglot with `python -m shards_tools build lsasrd`; it trains
on fold 0. A row takes 28 s of one CPU; there are 168.
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

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import IntDistribution

# Appended, because `platform` must first resolve to the standard library's.
sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.laboratory import Params, Space
from platform.spaces.loading import load_space
from shards_tools.manifest_file import read_manifest
from trainables.training.loop import run_epoch
from trainables.training.loss_reader import NonFiniteLoss
from trainables.training.train_state import prepare

TABLE = Path(__file__).with_name("omniglot_table.jsonl")
EPOCHS = 9
IMAGE_SIZE = 32
# Parameter of the space -> its levels, ascending over its whole range. Other parameters are those of the hand-set row.
LEVELS: dict[str, tuple[Any, ...]] = {
    "sgd_lr": (0.003, 0.0065, 0.0139, 0.03, 0.0646, 0.139, 0.3),
    "metric_weight": (0.1, 0.27, 0.74, 2.0),
    "works_per_batch": (4, 8, 16),
    "pooling": ("avg", "gem"),
}
# The space of a search: the index of each level.
SPACE: Space = {name: IntDistribution(0, len(levels) - 1) for name, levels in LEVELS.items()}


def levels_of(params: Params) -> dict[str, Any]:
    """Return the values of these level indices."""
    return {name: levels[params[name]] for name, levels in LEVELS.items()}


class Table:
    """The recorded trainings."""

    def __init__(self, path: Path = TABLE) -> None:
        rows = [json.loads(line) for line in path.open()]
        self._curves = {tuple(row[name] for name in LEVELS): np.array(row["mAP"]) for row in rows}
        self.best = max(float(curve[-1]) for curve in self._curves.values())

    def __len__(self) -> int:
        return len(self._curves)

    def __call__(self, params: Params) -> NDArray[np.float64]:
        """Return the mAP after each epoch."""
        return self._curves[tuple(levels_of(params).values())]

    def num_from(self, value: float) -> int:
        """Count the settings that end with at least `value`."""
        return sum(bool(curve[-1] >= value) for curve in self._curves.values())


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
