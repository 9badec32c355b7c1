"""A recorded table of full trainings: a grid of the `agw` space on Omniglot, with the mAP after each epoch.

`benchmarks/record_omniglot.py` recorded it; searches look trainings up in it, so that they take seconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from optuna.distributions import IntDistribution

from benchmarks.laboratory import Epoch, Params, Space

TABLE = Path(__file__).with_suffix(".jsonl")
EPOCHS = 9
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
    """The recorded trainings. Each epoch takes a second."""

    def __init__(self, path: Path = TABLE) -> None:
        rows = [json.loads(line) for line in path.open()]
        self._curves = {tuple(row[name] for name in LEVELS): np.array(row["mAP"]) for row in rows}
        self.best = max(float(curve[-1]) for curve in self._curves.values())

    def __len__(self) -> int:
        return len(self._curves)

    def __call__(self, params: Params) -> Iterator[Epoch]:
        """Yield the epochs of a training, whose values are its mAP."""
        return (Epoch(value, 1.0) for value in self._curves[tuple(levels_of(params).values())].tolist())

    def num_from(self, value: float) -> int:
        """Count the settings that end with at least `value`."""
        return sum(bool(curve[-1] >= value) for curve in self._curves.values())
