"""A disk that fills up under a search: one line that names it, and the same command goes on once there is room."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from platform.tracking.journal import Journal
from shards_tools.folders import is_full
from tests.platform.driver import ROOT, assert_whole, run_search, started_search, stored_trials, wait_until
from tests.platform.small_disk import fill, mounted_disk

NUM_TRIALS = 4

# A trial that fills the disk, then fails: Tune can keep no word of its error.
TRIAL = """
import sys
from pathlib import Path

from platform.execution import local_cluster, run_trials
from platform.resolve import resolve_search
from platform.search import parse
from platform.study import open_storage, open_study
from platform.terminal.lines import Display
from platform.tracking.journal import Journal
from platform.trials import Trials
from tests.platform.small_disk import fill

disk = Path(sys.argv[1])


def train(config):
    fill(disk)
    raise RuntimeError("too late")


search = resolve_search(parse(sys.argv[2:])[0])
study = open_study(search, open_storage(search.stores.storage))
with Journal(search.stores.folder / "journal.jsonl") as journal, local_cluster(search.resources.num_cpus):
    trials = Trials(study, search, journal, Display(study, search.goal))
    run_trials(trials, 1, search.budget.hours, train)
print(trials.failure)
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 MB."""
    with mounted_disk(tmp_path / "disk", megabytes=64) as disk:
        yield disk


def test_a_line_of_the_journal_that_finds_no_room_is_not_there_at_all(small_disk: Path) -> None:
    with Journal(small_disk / "journal.jsonl") as journal:
        journal.append("tag", trial=0, key="reading", value="short", time=1.0)
        filler = fill(small_disk)
        assert is_full(small_disk)
        values = {f"metric {number}": 0.5 for number in range(1000)}
        with pytest.raises(OSError, match="No space left"):
            journal.append("metrics", trial=0, step=1, time=1.0, values=values)
        assert [event["kind"] for event in journal.read()[0]] == ["tag"]
        filler.unlink()
        journal.append("metrics", trial=0, step=1, time=1.0, values=values)
        assert [event["kind"] for event in journal.read()[0]] == ["tag", "metrics"]


def test_a_search_that_starts_on_a_full_disk_says_so_in_one_line(
    small_space: Path, shards: Path, small_disk: Path
) -> None:
    fill(small_disk)
    _, screen = run_search("--space", small_space, "--data", shards, "--runs", small_disk / "runs", expect=2)
    assert len(screen.splitlines()) == 1
    assert str(small_disk / "runs") in screen


@pytest.mark.slow
def test_a_disk_that_fills_up_in_the_middle_costs_nothing(small_space: Path, shards: Path, small_disk: Path) -> None:
    runs = small_disk / "runs"
    options = ["--space", small_space, "--data", shards, "--runs", runs, "--trials", NUM_TRIALS, "--concurrency", 2]
    with started_search(*options) as search:
        wait_until(lambda: any(runs.glob("*/start-001/*/checkpoint_000001")), 600, "a second checkpoint")
        before = {trial.number: trial.intermediate_values for trial in stored_trials(runs / "optuna.db")}
        filler = fill(small_disk)
        out, screen = search.communicate(timeout=600)
    assert search.returncode == 2, screen
    assert out == ""
    assert "Traceback" not in screen, screen
    last = screen.splitlines()[-1]
    assert str(small_disk) in last
    assert "Free space on that disk" in last
    filler.unlink()
    summary, screen = run_search(*options)
    assert "left running by an earlier start" in screen
    assert_whole(runs / "optuna.db", runs / "mlflow.db", summary, NUM_TRIALS)
    after = {trial.number: trial.intermediate_values for trial in stored_trials(runs / "optuna.db")}
    for number, values in before.items():
        assert values.items() <= after[number].items()
    assert json.dumps(summary["best"])


@pytest.mark.slow
def test_a_trial_that_fails_on_a_full_disk_ends_the_start_without_a_traceback(
    small_space: Path, shards: Path, small_disk: Path, tmp_path: Path
) -> None:
    script = tmp_path / "trial.py"
    script.write_text(TRIAL)
    options = ["--space", small_space, "--data", shards, "--runs", small_disk / "runs", "--concurrency", 1]
    words = [sys.executable, script, small_disk, *options, "--storage", f"sqlite:///{tmp_path / 'optuna.db'}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(list(map(str, words)), env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "Free space on that disk" in result.stdout
