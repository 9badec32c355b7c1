"""How many training epochs a search needs to find good settings: ours compared with random, Optuna, Tune and BOHB.

Two tests. First, published learning curves: LCBench's surrogate, ten tasks, mean normalized regret after the epochs of
5, 10, 20 and 40 full trainings (`benchmarks/lcbench.py`); methods are compared with a paired bootstrap over (task,
seed). Second, a recorded table of trainings on Omniglot: the median number of epochs until a full training came within
1 % of the best (`benchmarks/omniglot_table.py`).

Run: SAKUGA_REAL_DATA=DIR python benchmarks/search.py [--seeds 10] [--record FILE] [--figure FILE.svg]. LCBench needs
onnxruntime, BOHB hpbandster with ConfigSpace. Searches in the record are not run again. With --live SHARDS each method
searches once with real trainings, whose values must equal the table's up to another CPU's rounding.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

# Appended, because `platform` must first resolve to the standard library's.
sys.path.append(str(Path(__file__).parents[1]))

from benchmarks import lcbench, omniglot_table
from benchmarks.laboratory import BudgetSpent, Laboratory, Params
from benchmarks.lcbench import BUDGETS
from benchmarks.omniglot_table import Table
from benchmarks.search_methods import METHODS, OURS

LIMITS = {20: 0.55, 40: 0.45}  # of random search's regret
TABLE_LIMIT = 0.5  # of random search's epochs
NEAR = 0.01
SEEDS_PER_SEED = 2  # table searches per LCBench seed, because they are short
TABLE_BUDGET = 4  # times the epochs of the whole table

LIVE_BUDGET = 30  # epochs
# Of mAP, the median over first epochs. On the CPU that recorded the table nothing differs. Another one rounds
# differently and trainings diverge from there, some until one of the two is not finite.
LIVE_TOLERANCE = 1e-3

Job = tuple[str, str, str, int]  # folder of LCBench's surrogate, method, task, seed
OMNIGLOT = "omniglot"  # the task of the table


def run(job: Job) -> dict[str, Any]:
    """Run one search; return the epochs spent at the end of each full training, and its value."""
    folder, method, task, seed = job
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if task == OMNIGLOT:
        table = Table()
        epochs = omniglot_table.EPOCHS
        budget = TABLE_BUDGET * len(table) * epochs
        laboratory = Laboratory(omniglot_table.SPACE, epochs, table, budget, enough=near_best(table))
    else:
        curves = lcbench.Curves(Path(folder), int(task))
        laboratory = Laboratory(lcbench.SPACE, lcbench.EPOCHS, curves, BUDGETS[-1] * lcbench.EPOCHS)
    with contextlib.suppress(BudgetSpent):
        METHODS[method](laboratory, seed)
    return {
        "method": method,
        "task": task,
        "seed": seed,
        "trials": laboratory.num_trials,
        "finished": laboratory.finished,
    }


def worse_with(ours: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the share of 10,000 paired bootstrap samples in which our mean regret is not larger.

    A small share means that ours is worse.
    """
    differences = ours - other
    picks = np.random.default_rng(0).integers(len(differences), size=(10_000, len(differences)))
    return float((differences[picks].mean(1) <= 0).mean())


def print_regrets(curves: dict[str, NDArray[np.float64]], records: Iterable[dict[str, Any]]) -> bool:
    """Print the mean regret at each budget; return whether the limits hold."""
    trials = {method: [record["trials"] for record in records if record["method"] == method] for method in curves}
    print(f"{'LCBench: mean regret':28}" + "".join(f"{f'@{budget}':>8}" for budget in BUDGETS) + "   trials   runs")
    at = {method: {budget: curve[:, budget * lcbench.EPOCHS] for budget in BUDGETS} for method, curve in curves.items()}
    for method, row in at.items():
        values = "".join(f"{row[budget].mean():8.3f}" for budget in BUDGETS)
        print(f"{method:28}{values}{np.mean(trials[method]):9.0f}{len(row[BUDGETS[0]]):7}")
    holds = True
    for budget in BUDGETS if OURS in at else ():
        ours = at[OURS][budget]
        rivals = [method for method in at if method != OURS and len(at[method][budget]) == len(ours)]
        best = min(rivals, key=lambda method: at[method][budget].mean())
        share = worse_with(ours, at[best][budget])
        holds &= share >= 0.05
        print(f"@{budget}: the best other method is {best}; ours is not worse in {100 * share:.1f} % of the samples")
        if budget in LIMITS and "random" in at:
            ratio = ours.mean() / at["random"][budget].mean()
            holds &= ratio <= LIMITS[budget]
            print(f"@{budget}: {ratio:.2f} of random's regret, the limit is {LIMITS[budget]}")
    return holds


def print_epochs(records: list[dict[str, Any]]) -> bool:
    """Print the epochs until a training on Omniglot came near the best; return whether the limit holds."""
    table = Table()
    near = table.num_from(near_best(table))
    print(f"\nOmniglot: {len(table)} settings, {near} of them within {NEAR:.0%} of the best mAP, {table.best:.4f}")
    print(f"{'epochs until there':28}{'median':>8}{'quartiles':>16}   runs")
    medians = {}
    for method in dict.fromkeys(record["method"] for record in records):
        spent = [_epochs_until_near(record, table) for record in records if record["method"] == method]
        medians[method] = float(np.median(spent))
        low, high = np.quantile(spent, (0.25, 0.75))
        print(f"{method:28}{medians[method]:8.0f}{f'{low:.0f} to {high:.0f}':>16}{len(spent):7}")
    if "random" not in medians or OURS not in medians:
        return True
    ratio = medians[OURS] / medians["random"]
    print(f"{ratio:.2f} of random's epochs, the limit is {TABLE_LIMIT}")
    return ratio <= TABLE_LIMIT


def _epochs_until_near(record: dict[str, Any], table: Table) -> int:
    """Return the epochs spent until a training came near the best; the whole budget if none did."""
    budget = TABLE_BUDGET * len(table) * omniglot_table.EPOCHS
    return next((epochs for epochs, value in record["finished"] if value >= near_best(table)), budget)


def near_best(table: Table) -> float:
    """Return the value from which a setting is near the best."""
    return (1 - NEAR) * table.best


def live(methods: Iterable[str], shards: str) -> bool:
    """Run one search with real trainings per method; return whether first epochs equal the table."""
    table = Table()
    differences: list[tuple[int, float]] = []  # epoch, and the difference of its mAP from the table's

    def curves(params: Params) -> Iterator[float]:
        trained = omniglot_table.training(shards, omniglot_table.levels_of(params))
        for epoch, (value, recorded) in enumerate(zip(trained, table(params), strict=True), start=1):
            differences.append((epoch, abs(value - recorded)))
            yield value

    holds = True
    for method in methods:
        differences.clear()
        laboratory = Laboratory(omniglot_table.SPACE, omniglot_table.EPOCHS, curves, LIVE_BUDGET)
        with contextlib.suppress(BudgetSpent):
            METHODS[method](laboratory, 0)
        first = float(np.median([far for epoch, far in differences if epoch == 1]))
        later = float(np.median([far for epoch, far in differences]))
        print(
            f"{method}: {len(differences)} epochs of {laboratory.num_trials} trainings, median difference to the table"
            f" {first:.1e} after the first epoch, {later:.1e} after all",
            flush=True,
        )
        holds &= first <= LIVE_TOLERANCE
    return holds


def draw_figure(curves: dict[str, NDArray[np.float64]], path: Path) -> None:
    """Plot the mean regret over the epochs spent, one line per method."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 4.5), layout="constrained")
    for method, curve in curves.items():
        ours = method == OURS
        axes.plot(
            np.arange(curve.shape[1]) / lcbench.EPOCHS, curve.mean(0), label=method, linewidth=3 if ours else 1.4,
            color="black" if ours else None, zorder=3 if ours else 2,
        )  # fmt: skip
    axes.set(xlabel="epochs spent, in full trainings", ylabel="normalized regret, mean", yscale="log", xlim=(1, 40))
    axes.grid(alpha=0.3, which="both")
    figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(path)


def jobs_of(methods: list[str], num_seeds: int, folder: Path | None) -> list[Job]:
    """Return all searches; those on LCBench only if `folder` has its surrogate."""
    jobs = [("", method, OMNIGLOT, seed) for seed in range(SEEDS_PER_SEED * num_seeds) for method in methods]
    tasks = lcbench.TASKS if folder else ()
    return jobs + [
        (str(folder), method, str(task), seed) for seed in range(num_seeds) for method in methods for task in tasks
    ]


def lcbench_folder() -> Path | None:
    """Return the folder of LCBench's surrogate, or None if it cannot be used."""
    folder = Path(os.environ.get("SAKUGA_REAL_DATA", "")) / "yahpo_lcbench"
    if (folder / "model.onnx").exists() and importlib.util.find_spec("onnxruntime"):
        return folder
    print("LCBench is skipped: it needs $SAKUGA_REAL_DATA/yahpo_lcbench and onnxruntime")
    return None


def main() -> int:
    """Run what the record lacks and print the tables; return 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, help="seeds on LCBench; the table gets twice as many")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--record", type=Path)
    parser.add_argument("--figure", type=Path)
    parser.add_argument(
        "--live", metavar="SHARDS", help="shards of Omniglot: run only one search with real trainings per method"
    )
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder = lcbench_folder()
    bohb = importlib.util.find_spec("hpbandster")
    methods = [name for name in options.methods if name != "BOHB (hpbandster)" or bohb]
    if options.live:
        return 0 if live(methods, options.live) else 1
    jobs = jobs_of(methods, options.seeds, folder)
    records = [json.loads(line) for line in options.record.open()] if options.record and options.record.exists() else []
    done = {(record["method"], record["task"], record["seed"]) for record in records}
    with multiprocessing.get_context("spawn").Pool() as pool:
        for record in pool.imap_unordered(run, [job for job in jobs if job[1:] not in done]):
            records.append(record)
            if options.record:
                with options.record.open("a") as file:
                    file.write(json.dumps(record) + "\n")
    wanted = {job[1:] for job in jobs}
    records = [record for record in records if (record["method"], record["task"], record["seed"]) in wanted]
    records.sort(key=lambda record: methods.index(record["method"]))
    holds = True
    if folder:
        of_lcbench = [record for record in records if record["task"] != OMNIGLOT]
        curves = lcbench.regrets(of_lcbench, folder)
        if options.figure:
            draw_figure(curves, options.figure)
        holds = print_regrets(curves, of_lcbench)
    holds &= print_epochs([record for record in records if record["task"] == OMNIGLOT])
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
