"""A search whose disk loses power at random moments: at most the epoch under way is lost, and the result is the same.

`SAKUGA_POWER_FAILURES=20 python -m pytest -s tests/platform/test_power_failure.py` takes more moments.
"""

import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from optuna.trial import FrozenTrial

from shards_tools.sample import sample_set
from tests.platform.driver import assert_whole, run_search, started_search, stored_trials, wait_until
from tests.platform.small_disk import PowerlessDisk
from tests.platform.storm import SPACE

pytestmark = pytest.mark.slow

NUM_FAILURES = int(os.environ.get("SAKUGA_POWER_FAILURES", "5"))
NUM_TRIALS = max(2, round(0.4 * NUM_FAILURES))
# What a training measures of itself is in none of these.
KEPT = ("baseline", "reason", "pruned_at", "spared_at", "reading")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name, for the sockets of Ray."""
    folder = Path(tempfile.mkdtemp(prefix="power-"))
    (folder / "space.py").write_text(SPACE)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def disk(folder: Path) -> Iterator[PowerlessDisk]:
    disk = PowerlessDisk(folder, 512)
    yield disk
    disk.remove()


def options(folder: Path, runs: Path) -> list[object]:
    words = ["--space", folder / "space.py", "--data", sample_set(), "--runs", runs]
    return [*words, "--trials", NUM_TRIALS, "--concurrency", 1]


def told(trial: FrozenTrial) -> tuple[object, ...]:
    kept = {key: trial.user_attrs.get(key) for key in KEPT}
    return trial.number, trial.state, trial.params, trial.value, trial.intermediate_values, kept


def epochs(runs: Path) -> dict[int, int]:
    """The number of epochs that the study knows of each trial."""
    database = runs / "optuna.db"
    return {trial.number: len(trial.intermediate_values) for trial in stored_trials(database)}


def run_until_a_failure(words: list[object], disk: PowerlessDisk, draw: random.Random) -> dict[int, int]:
    """Start the search and take the power from its disk at a random moment; return the epochs it had then."""
    runs = disk.place / "runs"
    with started_search(*words) as search:
        before = sum(epochs(runs).values()) if (runs / "optuna.db").exists() else 0
        if draw.random() < 0.8:  # the others fail while it starts
            wait_until(lambda: _num_checkpoints(runs) > 0 and sum(epochs(runs).values()) > before, 300, "an epoch")
        time.sleep(draw.uniform(0, 4))
        known = epochs(runs) if (runs / "optuna.db").exists() else {}
        disk.fail()
        family = psutil.Process(search.pid).children(recursive=True)
        search.kill()
        for process in family:
            if process.is_running():
                process.kill()
        psutil.wait_procs(family, timeout=60)
    disk.restore()
    return known


def _num_checkpoints(runs: Path) -> int:
    return len(list(runs.glob("*/start-*/trial-*/checkpoint_*/checkpoint.json")))


@pytest.mark.parametrize("seed", [int(os.environ.get("SAKUGA_POWER_SEED", "0"))])
def test_power_failures_cost_an_epoch_each_and_change_no_value(seed: int, folder: Path, disk: PowerlessDisk) -> None:
    draw, runs = random.Random(seed), disk.place / "runs"
    for number in range(NUM_FAILURES):
        known = run_until_a_failure(options(folder, runs), disk, draw)
        left = epochs(runs) if (runs / "optuna.db").exists() else {}
        print(f"failure {number + 1}: the study had {known}, and has {left}")
        lost = sum(known.values()) - sum(left.get(trial, 0) for trial in known)
        assert lost <= 1
    summary, screen = run_search(*options(folder, runs))
    print(screen)
    assert "Traceback" not in screen
    assert_whole(runs / "optuna.db", runs / "mlflow.db", summary, NUM_TRIALS)
    assert json.loads((Path(summary["best"]["checkpoint"]) / "checkpoint.json").read_text())["checksums"]
    peaceful = folder / "peaceful"
    run_search(*options(folder, peaceful))
    assert [told(one) for one in stored_trials(runs / "optuna.db")] == [
        told(one) for one in stored_trials(peaceful / "optuna.db")
    ]
