"""How good the best setting is that a search has found after so many epochs: ours beside random, Optuna, Tune and BOHB.

The trainings are YAHPO's surrogate of LCBench: real learning curves of 52 epochs over seven hyperparameters (Pfisterer
et al. 2022, Zimmer et al. 2021), on the ten tasks named in the data's README. Regret is (best known - best found) /
(best known - median of random settings); a search that has finished no training yet has regret 1. Best known is the
best of 3,000 random trainings and of all searches. Two methods are told apart by a paired bootstrap over (task, seed).

Run: SAKUGA_REAL_DATA=DIR python benchmarks/search.py [--seeds 10] [--record FILE] [--figure FILE.svg]; needs
onnxruntime, and hpbandster with ConfigSpace for BOHB. What stands in the record is not run again.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import multiprocessing
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import FloatDistribution, IntDistribution

# At the end, since `platform` is the standard library's before it is ours.
sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.search_methods import METHODS, OURS, Params, Space

EPOCHS = 52
BUDGETS = (5, 10, 20, 40)  # full trainings
TASKS = (167161, 167190, 168329, 167184, 167104, 189865, 167149, 167201, 168910, 3945)
NUM_RANDOM = 3000
LIMITS = {20: 0.55, 40: 0.45}  # of random search's regret
SPACE: Space = {
    "batch_size": IntDistribution(16, 512, log=True),
    "learning_rate": FloatDistribution(1e-4, 1e-1, log=True),
    "momentum": FloatDistribution(0.1, 0.99),
    "weight_decay": FloatDistribution(1e-5, 1e-1),
    "num_layers": IntDistribution(1, 5),
    "max_units": IntDistribution(64, 1024, log=True),
    "max_dropout": FloatDistribution(0.0, 1.0),
}


class BudgetSpent(Exception):
    """There is no epoch left."""


class Curves:
    """The surrogate of one task."""

    def __init__(self, folder: Path, task: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(folder / "model.onnx", options)
        self._task = json.loads((folder / "encoding.json").read_text())["OpenML_task_id"][str(task)]

    def __call__(self, params: Params) -> NDArray[np.float64]:
        """Validation accuracy in percent after each of the epochs."""
        inputs = np.tile(np.array([0, *(params[name] for name in SPACE)], np.float32), (EPOCHS, 1))
        inputs[:, 0] = np.arange(1, EPOCHS + 1)
        tasks = np.full((EPOCHS, 1), self._task, np.int32)
        outputs: NDArray[np.float64] = self._session.run(None, {"x_cat": tasks, "x_cont": inputs})[0]
        return outputs[:, 1].astype(float)


class Lab:
    """Counts the epochs of every training, and keeps what each full one gave."""

    space, epochs = SPACE, EPOCHS

    def __init__(self, curves: Curves, num_epochs: int) -> None:
        self._curves, self._left = curves, num_epochs
        self.num_trials, self.finished = 0, [(0, 0.0)][:0]

    def start(self, params: Params) -> _Training:
        self.num_trials += 1
        return _Training(self, self._curves(params))

    def spend(self) -> None:
        """Take an epoch off the budget."""
        if not self._left:
            raise BudgetSpent
        self._left -= 1

    def finish(self, value: float) -> None:
        """Note a full training."""
        self.finished.append((BUDGETS[-1] * EPOCHS - self._left, value))


class _Training:
    def __init__(self, lab: Lab, values: NDArray[np.float64]) -> None:
        self._lab, self._values, self.epoch = lab, values, 0

    def advance(self) -> float:
        self._lab.spend()
        self.epoch += 1
        value = float(self._values[self.epoch - 1])
        if self.epoch == EPOCHS:
            self._lab.finish(value)
        return value


def run(job: tuple[str, str, int, int]) -> dict[str, Any]:
    """One search: after how many epochs each full training was over, and what it gave."""
    folder, method, task, seed = job
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    lab = Lab(Curves(Path(folder), task), BUDGETS[-1] * EPOCHS)
    with contextlib.suppress(BudgetSpent):
        METHODS[method](lab, seed)
    return {"method": method, "task": task, "seed": seed, "trials": lab.num_trials, "finished": lab.finished}


def references(folder: Path) -> dict[int, tuple[float, float]]:
    """Task -> the best and the median of random full trainings."""
    found = {}
    for task in TASKS:
        curves = Curves(folder, task)
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        values = [curves(study.ask(SPACE).params)[-1] for _ in range(NUM_RANDOM)]
        found[task] = (float(np.max(values)), float(np.median(values)))
    return found


def regrets(records: list[dict[str, Any]], folder: Path) -> dict[str, NDArray[np.float64]]:
    """Method -> regret, runs (task, seed) x epochs."""
    best_known = {}
    for task, (best, median) in references(folder).items():
        found = [value for record in records if record["task"] == task for _, value in record["finished"]]
        best_known[task] = (max([best, *found]), median)
    curves: dict[str, NDArray[np.float64]] = {}
    for method in METHODS:
        rows = sorted((record for record in records if record["method"] == method), key=_run_of)
        curves[method] = np.array([_regret_curve(record, *best_known[record["task"]]) for record in rows])
    return {method: curve for method, curve in curves.items() if len(curve)}


def _run_of(record: dict[str, Any]) -> tuple[int, int]:
    return record["task"], record["seed"]


def _regret_curve(record: dict[str, Any], best: float, median: float) -> NDArray[np.float64]:
    curve = np.ones(BUDGETS[-1] * EPOCHS + 1)
    for epochs, value in record["finished"]:
        curve[epochs:] = np.minimum(curve[epochs:], (best - value) / (best - median))
    return curve


def worse_with(ours: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Share of 10,000 paired bootstrap samples in which our mean regret is not the larger one; small: we are worse."""
    differences = ours - other
    picks = np.random.default_rng(0).integers(len(differences), size=(10_000, len(differences)))
    return float((differences[picks].mean(1) <= 0).mean())


def print_table(curves: dict[str, NDArray[np.float64]], records: Iterable[dict[str, Any]]) -> bool:
    """Mean regret at each budget; whether the limits hold."""
    trials = {method: [record["trials"] for record in records if record["method"] == method] for method in curves}
    print(f"{'method':28}" + "".join(f"{f'@{budget}':>8}" for budget in BUDGETS) + "   trials   runs")
    at = {method: {budget: curve[:, budget * EPOCHS] for budget in BUDGETS} for method, curve in curves.items()}
    for method, row in at.items():
        values = "".join(f"{row[budget].mean():8.3f}" for budget in BUDGETS)
        print(f"{method:28}{values}{np.mean(trials[method]):9.0f}{len(row[BUDGETS[0]]):7}")
    holds = True
    for budget in BUDGETS:
        ours = at[OURS][budget]
        rivals = [method for method in at if method != OURS and len(at[method][budget]) == len(ours)]
        best = min(rivals, key=lambda method: at[method][budget].mean())
        share = worse_with(ours, at[best][budget])
        holds &= share >= 0.05
        print(f"@{budget}: the best of the others is {best}; we are not worse in {100 * share:.1f} % of the samples")
        if budget in LIMITS and "random" in at:
            ratio = ours.mean() / at["random"][budget].mean()
            holds &= ratio <= LIMITS[budget]
            print(f"@{budget}: {ratio:.2f} of random's regret, the limit is {LIMITS[budget]}")
    return holds


def draw_figure(curves: dict[str, NDArray[np.float64]], path: Path) -> None:
    """Mean regret over the epochs spent, one line per method."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    for method, curve in curves.items():
        ours = method == OURS
        axes.plot(
            np.arange(curve.shape[1]) / EPOCHS, curve.mean(0), label=method, linewidth=3 if ours else 1.4,
            color="black" if ours else None, zorder=3 if ours else 2,
        )  # fmt: skip
    axes.set(xlabel="epochs spent, in full trainings", ylabel="normalised regret, mean", yscale="log", xlim=(1, 40))
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(path)


def main() -> int:
    """Run what the record lacks, print the table; 1 where a limit does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--record", type=Path)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    folder = Path(os.environ.get("SAKUGA_REAL_DATA", "")) / "yahpo_lcbench"
    if not (folder / "model.onnx").exists() or not importlib.util.find_spec("onnxruntime"):
        print("skipped: needs $SAKUGA_REAL_DATA/yahpo_lcbench and onnxruntime")
        return 0
    methods = [
        name for name in options.methods if name != "BOHB (hpbandster)" or importlib.util.find_spec("hpbandster")
    ]
    records = [json.loads(line) for line in options.record.open()] if options.record and options.record.exists() else []
    done = {(record["method"], *_run_of(record)) for record in records}
    jobs = [(str(folder), method, task, seed) for seed in range(options.seeds) for method in methods for task in TASKS]
    with multiprocessing.get_context("spawn").Pool() as pool:
        for record in pool.imap_unordered(run, [job for job in jobs if job[1:] not in done]):
            records.append(record)
            if options.record:
                with options.record.open("a") as file:
                    file.write(json.dumps(record) + "\n")
    records = [record for record in records if record["seed"] < options.seeds and record["method"] in methods]
    curves = regrets(records, folder)
    if options.figure:
        draw_figure(curves, options.figure)
    return 0 if print_table(curves, records) else 1


if __name__ == "__main__":
    sys.exit(main())
