"""A disk that takes no more files under a search: one line that names it, and the same command resumes later."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from platform.failures import refusal_of_disk
from platform.resilient_storage import Wait
from platform.tracking.journal import Journal
from shards_tools.folders import is_full
from tests.platform.driver import ROOT, assert_whole, family_of, run_search, started_search, stored_trials, wait_until
from tests.platform.small_disk import PowerlessDisk, fill, mounted_disk, use_up_inodes

NUM_TRIALS = 4

# A trial that fills the disk, then fails: Tune can keep no word of its error.
TRIAL = """
import sys
from pathlib import Path

from platform.execution import local_cluster, run_trials
from platform.failures import refuse_full_disk
from platform.resolve import resolve_search
from platform.search import parse
from platform.study import open_storage, open_study
from platform.terminal.lines import Display
from platform.tracking.journal import Journal
from platform.trials import Trials
from shards_tools.errors import Error
from tests.platform.small_disk import fill

disk = Path(sys.argv[1])


def train(config):
    fill(disk)
    raise RuntimeError("too late")


search = resolve_search(parse(sys.argv[2:])[0])
study = open_study(search, open_storage(search.stores.storage))
with Journal(search.stores.folder / "journal.jsonl") as journal, local_cluster(search.resources.num_cpus):
    trials = Trials(study, search, journal, Display(study, search.goal))
    try:
        with refuse_full_disk(search.stores.runs):
            run_trials(trials, 1, search.budget.hours, train)
    except Error as failure:
        print(failure)
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


def test_a_disk_without_inodes_or_that_is_read_only_is_not_waited_for(tmp_path: Path) -> None:
    with mounted_disk(tmp_path / "disk", megabytes=4, num_files=50) as disk:
        assert refusal_of_disk(disk) is None
        database = f"sqlite:///{disk}/optuna.db"
        many = use_up_inodes(disk)
        assert is_full(disk)
        refused = Wait(database).pause("unable to open database file")
        assert str(refused).startswith(f"{disk} cannot be written: its disk has no inodes left. Delete files on that")
        shutil.rmtree(many)
        assert not is_full(disk)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        refused = Wait(database).pause("attempt to write a readonly database")
        assert str(refused).startswith(
            f"{disk} cannot be written: Read-only file system. Make that disk writable again"
        )


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["no inodes", "read-only"])
def test_a_search_whose_disk_takes_no_more_files_ends_in_one_line_and_resumes(
    fault: str, small_space: Path, shards: Path, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        if fault == "read-only":
            failing = PowerlessDisk(tmp_path, 256)
            stack.callback(failing.remove)
            disk = failing.place
        else:
            disk = stack.enter_context(mounted_disk(tmp_path / "disk", megabytes=256, num_files=4000))
        runs = disk / "runs"
        options = ["--space", small_space, "--data", shards, "--runs", runs, "--trials", 2, "--concurrency", 1]
        with started_search(*options) as search:
            wait_until(lambda: any(runs.glob("*/start-001/*/checkpoint_000001")), 600, "a second checkpoint")
            family = family_of(search)
            if fault == "read-only":
                failing.fail()
            else:
                many = use_up_inodes(disk)
            _, screen = search.communicate(timeout=300)
            psutil.wait_procs(family, timeout=60)
        assert search.returncode == 2, screen
        assert "Traceback" not in screen, screen
        last = screen.splitlines()[-1]
        assert str(disk) in last
        assert "and run the same command again; running trials resume from their last checkpoint." in last
        if fault == "read-only":
            failing.restore()
        else:
            shutil.rmtree(many)
        summary, screen = run_search(*options)
        assert "left running by an earlier start" in screen
        assert_whole(runs / "optuna.db", runs / "mlflow.db", summary, 2)


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


def failed_on_full(disk: Path, space: Path, shards: Path, folder: Path, **variables: str) -> str:
    """What is printed of a trial that fills a disk and then fails."""
    script = folder / "trial.py"
    script.write_text(TRIAL)
    runs = folder / "runs" if variables else disk / "runs"
    words = [sys.executable, script, disk, "--space", space, "--data", shards, "--runs", runs, "--concurrency", 1]
    words += ["--storage", f"sqlite:///{folder / 'optuna.db'}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    result = subprocess.run(list(map(str, words)), env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_a_trial_that_fails_on_a_full_disk_ends_the_start_without_a_traceback(
    small_space: Path, shards: Path, small_disk: Path, tmp_path: Path
) -> None:
    assert "Free space on that disk" in failed_on_full(small_disk, small_space, shards, tmp_path)


@pytest.mark.slow
def test_a_trial_that_fails_while_the_temporary_folder_is_full_ends_the_start_without_a_traceback(
    small_space: Path, shards: Path, tmp_path: Path
) -> None:
    # Not in tmp_path, which is too long for Ray's sockets.
    with tempfile.TemporaryDirectory() as folder, mounted_disk(Path(folder) / "disk", megabytes=64) as disk:
        printed = failed_on_full(disk, small_space, shards, tmp_path, TMPDIR=str(disk))
        assert f"{disk} cannot be written: No space left on device. Free space on that disk" in printed
