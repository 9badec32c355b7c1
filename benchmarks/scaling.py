"""Benchmark of whether more slots run as many more trials, and of the driver's CPU time.

Trials sleep for the length of their epochs, so that the CPUs of this machine do not limit them. Everything else is a
real search: Ray, Optuna and MLflow on SQLite, checkpoints. It reports trials per hour with 1, 2 and 4 slots, each from
the start of the first process to the last write, and the CPU seconds of the driver per second of wall time.

Run: python benchmarks/scaling.py [--slots N ...] [--full]. Exits with 1 if a limit is exceeded.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

# Appended, because `platform` must first resolve to the standard library's.
sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.search_overhead import EPOCHS, found_apart, ours, train_nothing

SLOTS = (1, 2, 4)
LIMIT = 0.95  # of linear scaling from the first number of slots
UNPRUNED = ("--pruner", "none")  # trials of equal length, so that no slot idles at the end
EPOCH_VARIABLE = "SAKUGA_BENCHMARK_EPOCH_S"


def train_asleep(config: dict[str, Any]) -> None:
    """Sleep like a trial whose epoch length is set in the environment."""
    train_nothing(config, float(os.environ[EPOCH_VARIABLE]))


def search(num_slots: int, trials_per_slot: int, epoch_s: float) -> dict[str, float]:
    """Run one search; return its wall seconds and the driver's CPU seconds."""
    words = ["--slots", num_slots, "--trials", num_slots * trials_per_slot]
    return found_apart(__file__, *words, **{EPOCH_VARIABLE: str(epoch_s)})


def main() -> int:
    """Print trials per hour and CPU shares; return 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="longer epochs and more trials")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--slots", type=int, nargs="+", default=SLOTS, metavar="N", help="trials at a time")
    parser.add_argument("--trials", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        print(json.dumps(ours(options.folder, options.trials, train_asleep, options.slots[0], UNPRUNED)))
        return 0
    epoch_s, trials_per_slot = (10.0, 12) if options.full else (5.0, 4)
    print(f"{trials_per_slot} trials per slot, with {EPOCHS} epochs of {epoch_s:g} s")
    print(f"{'slots':>6}{'trials per hour':>17}{'of linear':>11}{'driver CPU, share of wall':>27}")
    ratios = []
    first = 0.0
    for num_slots in options.slots:
        found = search(num_slots, trials_per_slot, epoch_s)
        rate = 3600 * trials_per_slot / found["wall"]  # of one slot
        first = first or rate
        ratios.append(rate / first)
        print(
            f"{num_slots:6}{num_slots * rate:17.0f}{ratios[-1]:11.3f}{found['driver'] / found['wall']:27.3f}",
            flush=True,
        )
    print(f"the limit is {LIMIT} of linear")
    return 0 if min(ratios) >= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
