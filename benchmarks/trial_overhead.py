"""Benchmark of what a trial of the search costs compared with the bare training loop.

The same training runs bare in this process and as trials of a real search (a new process, Ray, Optuna and MLflow), one
at a time and alternating in one run. Run: python benchmarks/trial_overhead.py.
"""

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import optuna
import torch

from shards_tools.manifest_file import read_manifest
from shards_tools.sample import sample_set
from trainables.recipes import get_recipe
from trainables.recipes.settings import override
from trainables.training.loop import train

NUM_ROUNDS = 3
TRIALS_PER_ROUND = 3
SETTINGS = {"backbone": "vit_64x3", "stride_px": 4, "epochs": 2}
SPACE = """
def suggest(trial):
    trial.suggest_float("nothing", 0, 1)
    return {{"recipe": "transreid-tiny", **{settings}}}
"""


def bare_seconds(data: Path) -> float:
    """Return the wall time of the training loop, with data decoded and libraries imported."""
    start = time.perf_counter()
    train(override(get_recipe("transreid-tiny"), SETTINGS), read_manifest(data), report=lambda report, save: None)
    return time.perf_counter() - start


def trial_seconds(data: Path, runs: Path) -> list[float]:
    """Return the wall time of each trial of a search, from its start to the start of the next."""
    space = runs / "constant.py"
    space.write_text(SPACE.format(settings=repr(SETTINGS)))
    words = ["--space", space, "--data", data, "--runs", runs, "--trials", TRIALS_PER_ROUND + 1, "--concurrency", 1]
    command = [sys.executable, "-m", "platform.search", *map(str, words), "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    summary = json.loads(result.stdout.splitlines()[-1])
    trials = optuna.load_study(study_name=summary["study"], storage=summary["storage"]).trials
    starts = [trial.datetime_start.timestamp() for trial in trials if trial.datetime_start]
    return [after - before for before, after in itertools.pairwise(starts)]


def main() -> None:
    """Print the seconds that a trial costs in addition to the loop, and the ratio of the two."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    data = sample_set()
    bare_seconds(data)  # decodes the data
    bare, trials = [], []
    for _ in range(NUM_ROUNDS):
        bare += [bare_seconds(data) for _ in range(TRIALS_PER_ROUND)]
        with tempfile.TemporaryDirectory() as runs:
            trials += trial_seconds(data, Path(runs))
    loop, trial = statistics.median(bare), statistics.median(trials)
    print(f"{len(bare)} bare trainings and {len(trials)} trials of {SETTINGS['epochs']} epochs, {os.cpu_count()} CPUs")
    print(f"bare loop {loop:.2f} s, trial {trial:.2f} s ({min(trials):.2f} to {max(trials):.2f})")
    print(f"extra cost of a trial: {trial - loop:.2f} s, {trial / loop:.2f} x a loop of this length")


if __name__ == "__main__":
    main()
