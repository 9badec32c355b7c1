"""One search of `benchmarks/search.py`, in a process whose Python has the method's package.

It needs NumPy and Optuna, and onnxruntime for LCBench. Run: python benchmarks/methods/searches.py JSON, a list of the
fields of `Search` and of those of `RunOptions`.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import optuna

# Appended, because `platform` must first resolve to the standard library's.
sys.path.append(str(Path(__file__).parents[2]))

from benchmarks import lcbench, omniglot
from benchmarks.laboratory import Laboratory
from benchmarks.methods import METHODS
from benchmarks.omniglot import Table

OMNIGLOT = "omniglot"  # the task of the table
NEAR = 0.01
TABLE_BUDGET = 4  # times the epochs of the whole table


class Search(NamedTuple):
    """What determines a search, except for its data."""

    method: str
    task: str
    seed: int
    workers: int


class RunOptions(NamedTuple):
    """How a search runs."""

    folder: str  # of LCBench's surrogate
    seconds: float | None  # the budget by the simulated clock; None: it is in epochs
    python: str  # that has the method's package; empty: this one


def near_best(table: Table) -> float:
    """Return the value from which a setting is near the best."""
    return (1 - NEAR) * table.best


def run(job: tuple[Search, RunOptions]) -> dict[str, Any]:
    """Run one search; return its record, with the epochs, value and seconds of each full training."""
    search, options = job
    if options.python:
        words = [options.python, __file__, json.dumps([search, options._replace(python="")])]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{search} failed:\n{done.stderr[-4000:]}")
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if search.task == OMNIGLOT:
        table = Table()
        budget = TABLE_BUDGET * len(table) * omniglot.EPOCHS
        laboratory = Laboratory(omniglot.SPACE, omniglot.EPOCHS, table, num_epochs=budget, enough=near_best(table))
    else:
        curves = lcbench.Curves(Path(options.folder), int(search.task))
        num_epochs = math.inf if options.seconds else lcbench.BUDGETS[-1] * lcbench.EPOCHS
        num_seconds = options.seconds or math.inf
        laboratory = Laboratory(lcbench.SPACE, lcbench.EPOCHS, curves, num_epochs=num_epochs, num_seconds=num_seconds)
    method = METHODS[search.method].make(laboratory.space, laboratory.epochs, search.seed)
    laboratory.run(method, search.workers)
    return {
        **search._asdict(),
        "num_seconds": options.seconds,
        "trials": laboratory.num_trials,
        "finished": laboratory.finished,
    }


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    print(json.dumps(run((Search(*given[0]), RunOptions(*given[1])))))
