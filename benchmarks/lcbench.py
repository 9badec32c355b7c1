"""Published learning curves: YAHPO's surrogate of LCBench, and the regret of a search.

Trainings of 52 epochs over seven hyperparameters (Pfisterer et al. 2022, Zimmer et al. 2021), on the ten tasks named in
the data's README. Regret is (best known - best found) / (best known - median of random settings); a search that has not
finished a training yet has regret 1. Best known is the best of 3,000 random trainings and of all searches.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution, IntDistribution

from benchmarks.laboratory import Epoch, Finished, Params, Space

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


class Reference(NamedTuple):
    """What random full trainings of a task reach."""

    best: float
    median: float
    seconds: float  # that one takes, median


class Curves:
    """The surrogate of one task."""

    def __init__(self, folder: Path, task: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(folder / "model.onnx", options)
        tasks = json.loads((folder / "encoding.json").read_text())["OpenML_task_id"]
        tasks.pop("#na#", None)
        if str(task) not in tasks:
            raise SystemExit(f"LCBench has no task {task}. Its tasks are {', '.join(sorted(tasks))}.")
        self._task = tasks[str(task)]

    def __call__(self, params: Params) -> Iterator[Epoch]:
        """Yield the epochs of a training; their values are its validation accuracy in percent."""
        inputs = np.tile(np.array([0, *(params[name] for name in SPACE)], np.float32), (EPOCHS, 1))
        inputs[:, 0] = np.arange(1, EPOCHS + 1)
        tasks = np.full((EPOCHS, 1), self._task, np.int32)
        outputs: NDArray[np.float64] = self._session.run(None, {"x_cat": tasks, "x_cont": inputs})[0]
        # The surrogate predicts the time until each epoch on its own, so it may fall. An epoch takes an equal share.
        seconds = float(outputs[-1, 0]) / EPOCHS
        return (Epoch(value, seconds) for value in outputs[:, 1].astype(float).tolist())


def reference(folder: Path, task: int) -> Reference:
    """Return what random full trainings of a task reach."""
    curves = Curves(folder, task)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trainings = [list(curves(study.ask(SPACE).params)) for _ in range(NUM_RANDOM)]
    values = [training[-1].value for training in trainings]
    seconds = [training[-1].seconds * EPOCHS for training in trainings]
    return Reference(float(np.max(values)), float(np.median(values)), float(np.median(seconds)))


class Regrets:
    """The regrets of searches at any number of epochs or seconds.

    Args:
        records: the searches, as `benchmarks.methods.searches.run` returns them.
        references: by task.
    """

    def __init__(self, records: Iterable[dict[str, Any]], references: dict[str, Reference]) -> None:
        ordered = sorted(records, key=lambda record: (record["task"], record["seed"]))
        self._runs = [{**run, "finished": [Finished(*found) for found in run["finished"]]} for run in ordered]
        self._references = references
        self._best: dict[str, float] = {task: reference.best for task, reference in references.items()}
        for run in self._runs:
            values = (found.value for found in run["finished"])
            self._best[run["task"]] = max([self._best[run["task"]], *values])
        self.methods = list(dict.fromkeys(run["method"] for run in self._runs))

    def num_trials(self, method: str) -> float:
        """Return the mean number of trainings that a search of a method started."""
        return float(np.mean([run["trials"] for run in self._runs_of(method)]))

    def after_epochs(self, method: str, num_epochs: int) -> NDArray[np.float64]:
        """Return the regret of each run (task, seed) after a number of epochs, counted over all its trainings."""
        runs = self._runs_of(method)
        return np.array(
            [self._regret(run, [one for one in run["finished"] if one.epochs <= num_epochs]) for run in runs]
        )

    def after_share(self, method: str, share: float) -> NDArray[np.float64]:
        """Return the regret of each run (task, seed) after a share of its budget in seconds."""
        regrets = []
        for run in self._runs_of(method):
            seconds = share * run["num_seconds"]
            regrets.append(self._regret(run, [one for one in run["finished"] if one.seconds <= seconds]))
        return np.array(regrets)

    def _runs_of(self, method: str) -> list[dict[str, Any]]:
        return [run for run in self._runs if run["method"] == method]

    def _regret(self, run: dict[str, Any], done: Sequence[Finished]) -> float:
        best, median = self._best[run["task"]], self._references[run["task"]].median
        return min([1.0, *((best - one.value) / (best - median) for one in done)])
