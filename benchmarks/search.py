"""How many training epochs a search needs to find good settings: ours compared with other methods.

Two tests. First, published learning curves: LCBench's surrogate, ten tasks, mean normalized regret after the epochs of
5, 10, 20 and 40 full trainings (`benchmarks/lcbench.py`); methods are compared with a paired bootstrap over (task,
seed). Second, a recorded table of trainings on Omniglot: the median number of epochs until a full training came within
1 % of the best (`benchmarks/omniglot.py`). With several workers, regret on LCBench is over simulated wall time.

Run: SAKUGA_REAL_DATA=DIR python benchmarks/search.py [--seeds 10] [--record FILE] [--figure FILE.svg]. LCBench needs
onnxruntime. Syne Tune, DEHB, SMAC and hpbandster need another NumPy than ours:

    python3 -m venv peers
    peers/bin/pip install "syne-tune[gpsearchers]==0.13" dehb==0.1.2 smac==2.4.1 hpbandster==0.7.4
    peers/bin/pip install onnxruntime optuna==5.0.0
    python benchmarks/search.py --peers peers/bin/python

Searches in the record are not run again. With --live SHARDS each method searches once with real trainings, whose values
must equal the table's up to another CPU's rounding.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna

# Appended, because `platform` must first resolve to the standard library's.
sys.path.append(str(Path(__file__).parents[1]))

from benchmarks import lcbench, omniglot
from benchmarks.laboratory import Epoch, Laboratory, Params
from benchmarks.lcbench import BUDGETS, Reference, Regrets
from benchmarks.methods import METHODS
from benchmarks.methods.searches import OMNIGLOT, RunOptions, Search, run
from benchmarks.omniglot import Table
from benchmarks.search_tables import (
    compare,
    draw_figure,
    intervals_of,
    means_of,
    print_epochs,
    print_regrets,
    rows_of,
    shares_of,
)

SEEDS_PER_SEED = 2  # table searches per LCBench seed, because they are short

LIVE_BUDGET = 30  # epochs
# Of mAP, the median over first epochs. On the CPU that recorded the table nothing differs. Another one rounds
# differently and trainings diverge from there, some until one of the two is not finite.
LIVE_TOLERANCE = 1e-3


def live(methods: Iterable[str], shards: str) -> bool:
    """Run one search with real trainings per method; return whether first epochs equal the table."""
    from benchmarks.record_omniglot import training

    table = Table()
    differences: list[tuple[int, float]] = []  # epoch, and the difference of its mAP from the table's

    def curves(params: Params) -> Iterator[Epoch]:
        trained = training(shards, omniglot.levels_of(params))
        for number, (value, recorded) in enumerate(zip(trained, table(params), strict=True), start=1):
            differences.append((number, abs(value - recorded.value)))
            yield Epoch(value, 1.0)

    holds = True
    for method in methods:
        differences.clear()
        laboratory = Laboratory(omniglot.SPACE, omniglot.EPOCHS, curves, num_epochs=LIVE_BUDGET)
        laboratory.run(METHODS[method].make(omniglot.SPACE, omniglot.EPOCHS, 0))
        first = float(np.median([far for epoch, far in differences if epoch == 1]))
        later = float(np.median([far for epoch, far in differences]))
        print(
            f"{method}: {len(differences)} epochs of {laboratory.num_trials} trainings, median difference to the table"
            f" {first:.1e} after the first epoch, {later:.1e} after all",
            flush=True,
        )
        holds &= first <= LIVE_TOLERANCE
    return holds


def lcbench_folder() -> Path | None:
    """Return the folder of LCBench's surrogate, or None if it cannot be used."""
    folder = Path(os.environ.get("SAKUGA_REAL_DATA", "")) / "yahpo_lcbench"
    if (folder / "model.onnx").exists() and importlib.util.find_spec("onnxruntime"):
        return folder
    print("LCBench is skipped: it needs $SAKUGA_REAL_DATA/yahpo_lcbench and onnxruntime", file=sys.stderr)
    return None


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add(
        "--tasks", nargs="+", default=[OMNIGLOT, *map(str, lcbench.TASKS)], metavar="ID", help="of LCBench, or omniglot"
    )
    add("--seeds", type=int, default=1, help="seeds on LCBench; the table gets twice as many")
    add("--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="NAME", help=", ".join(METHODS))
    add("--workers", type=int, default=1, metavar="W", help="trainings at a time, on LCBench")
    add("--peers", default="", metavar="PYTHON", help="a Python that has the packages that this one lacks")
    add("--record", type=Path, help="a file of searches; those in it are not run again")
    add("--figure", type=Path)
    add("--json", action="store_true", help="print one JSON object: the mean regrets, and their 95 %% intervals")
    add("--live", metavar="SHARDS", help="shards of Omniglot: run only one search with real trainings per method")
    options = parser.parse_args()
    if options.peers and not shutil.which(options.peers):
        parser.error(f"--peers {options.peers} is no program. Give the Python of the environment.")
    return options


def methods_of(options: argparse.Namespace) -> list[str]:
    """Return the methods that can run, and name the others."""
    found = [name for name in options.methods if options.workers == 1 or METHODS[name].is_parallel]
    missing = [name for name in found if not METHODS[name].is_here and not options.peers]
    for name in missing:
        print(f"{name} is left out: {METHODS[name].package} is not installed. See --peers.", file=sys.stderr)
    return [name for name in found if name not in missing]


def run_all(options: argparse.Namespace, methods: list[str]) -> tuple[list[dict[str, Any]], dict[str, Reference]]:
    """Run the searches that the record lacks; return the records of all, and the references of LCBench's tasks."""
    folder = lcbench_folder()
    tasks = [task for task in options.tasks if (folder if task != OMNIGLOT else options.workers == 1)]
    references = {task: lcbench.reference(folder, int(task)) for task in tasks if folder and task != OMNIGLOT}
    jobs = {}
    for seed in range(SEEDS_PER_SEED * options.seeds):
        for method in methods:
            for task in tasks if seed < options.seeds else [task for task in tasks if task == OMNIGLOT]:
                seconds = None
                if options.workers > 1:
                    seconds = BUDGETS[-1] * references[task].seconds / options.workers
                python = "" if METHODS[method].is_here else options.peers
                jobs[Search(method, task, seed, options.workers)] = RunOptions(str(folder), seconds, python)
    known = options.record.read_text().splitlines() if options.record and options.record.exists() else []
    records = {search_of(record): record for record in map(json.loads, known)}
    with multiprocessing.get_context("spawn").Pool() as pool:
        for record in pool.imap_unordered(run, [job for job in jobs.items() if job[0] not in records]):
            records[search_of(record)] = record
            if options.record:
                with options.record.open("a") as file:
                    file.write(json.dumps(record) + "\n")
    return [records[search] for search in jobs], references


def search_of(record: dict[str, Any]) -> Search:
    """Return the search of a record."""
    return Search(*(record[name] for name in Search._fields))


def main() -> int:
    """Run what the record lacks and print the tables; return 1 if a limit is exceeded."""
    options = parse()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    methods = methods_of(options)
    if options.live:
        return 0 if live(methods, options.live) else 1
    records, references = run_all(options, methods)
    records.sort(key=lambda record: methods.index(record["method"]))
    of_lcbench = [record for record in records if record["task"] != OMNIGLOT]
    of_table = [record for record in records if record["task"] == OMNIGLOT]
    is_parallel = options.workers > 1
    holds = True
    shown: dict[str, Any] = {"regret": {}, "ci": {}}
    if of_lcbench:
        regrets = Regrets(of_lcbench, references)
        rows = rows_of(regrets, is_parallel=is_parallel)
        shown = {"regret": means_of(rows), "ci": intervals_of(rows)}
        if is_parallel:
            rows = shares_of(regrets)
            shown["wall"] = means_of(rows)
        if options.figure:
            draw_figure(regrets, options.figure)
        if not options.json:
            print_regrets(rows, regrets)
            holds = compare(rows)
    if options.json:
        print(json.dumps(shown))
        return 0
    if of_table:
        holds &= print_epochs(of_table)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
