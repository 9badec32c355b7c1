"""Published learning curves: YAHPO's surrogate of LCBench, and the regret of a search.

Trainings of 52 epochs over seven hyperparameters (Pfisterer et al. 2022, Zimmer et al. 2021), on the ten tasks named in
the data's README. Regret is (best known - best found) / (best known - median of random settings); a search that has not
finished a training yet has regret 1. Best known is the best of 3,000 random trainings and of all searches.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution, IntDistribution

from benchmarks.laboratory import Params, Space

EPOCHS = 52
BUDGETS = (5, 10, 20, 40)  # full trainings
TASKS = (167161, 167190, 168329, 167184, 167104, 189865, 167149, 167201, 168910, 3945)
NUM_RANDOM = 3000
SPACE: Space = {
    "batch_size": IntDistribution(16, 512, log=True),
    "learning_rate": FloatDistribution(1e-4, 1e-1, log=True),
    "momentum": FloatDistribution(0.1, 0.99),
    "weight_decay": FloatDistribution(1e-5, 1e-1),
    "num_layers": IntDistribution(1, 5),
    "max_units": IntDistribution(64, 1024, log=True),
    "max_dropout": FloatDistribution(0.0, 1.0),
}


class Curves:
    """The surrogate of one task."""

    def __init__(self, folder: Path, task: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(folder / "model.onnx", options)
        self._task = json.loads((folder / "encoding.json").read_text())["OpenML_task_id"][str(task)]

    def __call__(self, params: Params) -> NDArray[np.float64]:
        """Return the validation accuracy in percent after each epoch."""
        inputs = np.tile(np.array([0, *(params[name] for name in SPACE)], np.float32), (EPOCHS, 1))
        inputs[:, 0] = np.arange(1, EPOCHS + 1)
        tasks = np.full((EPOCHS, 1), self._task, np.int32)
        outputs: NDArray[np.float64] = self._session.run(None, {"x_cat": tasks, "x_cont": inputs})[0]
        return outputs[:, 1].astype(float)


def references(folder: Path) -> dict[str, tuple[float, float]]:
    """Return, by task, the best and the median of random full trainings."""
    found = {}
    for task in map(str, TASKS):
        curves = Curves(folder, int(task))
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        values = [curves(study.ask(SPACE).params)[-1] for _ in range(NUM_RANDOM)]
        found[task] = (float(np.max(values)), float(np.median(values)))
    return found


def regrets(records: list[dict[str, Any]], folder: Path) -> dict[str, NDArray[np.float64]]:
    """Return, by method, the regret: runs (task, seed) x epochs."""
    best_known = {}
    for task, (best, median) in references(folder).items():
        found = [value for record in records if record["task"] == task for _, value in record["finished"]]
        best_known[task] = (max([best, *found]), median)
    curves: dict[str, NDArray[np.float64]] = {}
    for method in dict.fromkeys(record["method"] for record in records):
        rows = sorted((record for record in records if record["method"] == method), key=_run_of)
        curves[method] = np.array([_regret_curve(record, *best_known[record["task"]]) for record in rows])
    return {method: curve for method, curve in curves.items() if len(curve)}


def _run_of(record: dict[str, Any]) -> tuple[str, int]:
    return record["task"], record["seed"]


def _regret_curve(record: dict[str, Any], best: float, median: float) -> NDArray[np.float64]:
    curve = np.ones(BUDGETS[-1] * EPOCHS + 1)
    for epochs, value in record["finished"]:
        curve[epochs:] = np.minimum(curve[epochs:], (best - value) / (best - median))
    return curve
