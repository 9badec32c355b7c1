"""Processes that are killed for lack of memory: the closing line says so, and a killed driver resumes."""

import os
import signal
from pathlib import Path

import optuna
import psutil
import pytest
from optuna.trial import TrialState

from platform import out_of_memory
from platform.resolved_search import ResolvedSearch
from platform.summary import next_steps
from platform.terminal.lines import Display
from platform.tracking.journal import Journal
from platform.tracking.tracker import Tracker
from platform.trials import MAX_ATTEMPTS_WITHOUT_PROGRESS, Trials
from tests.platform.driver import family_of, run_search, started_search, stored_trials, trainings_of, wait_until
from tests.platform.faults import exhaust_memory

START_TIMEOUT_S = 300


def kill_for_memory(process: psutil.Process) -> int | None:
    """Have the kernel kill a process for lack of memory and return how it ended; skips where it cannot be had."""
    if os.getuid() != 0:
        pytest.skip("limiting memory needs root")
    try:
        return exhaust_memory(process)
    except OSError:
        pytest.skip("limiting memory needs version 1 of control groups")


def test_a_trial_killed_for_lack_of_memory_says_so_and_what_to_lower(
    study: optuna.Study, search: ResolvedSearch, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = tmp_path / "vmstat"
    counters.write_text("pgfault 7\noom_kill 40\n")
    monkeypatch.setattr(out_of_memory, "COUNTERS", counters)
    trials = Trials(study, search, journal, Display(study, search.goal))
    for number in range(MAX_ATTEMPTS_WITHOUT_PROGRESS):
        trials.start(f"attempt {number}")
        counters.write_text(f"pgfault 7\noom_kill {41 + number}\n")
        trials.finish(f"attempt {number}", died=True)
    assert study.trials[0].state == TrialState.FAIL
    tracker = Tracker(journal, uri=search.stores.tracking, artifacts=tmp_path, study="s", params={}, tags={})
    (line,) = [line for line in next_steps(study, search, tracker) if line.startswith("Last failure")]
    assert line.startswith("Last failure: trial 0 (paper row): Its process was killed 3 times in epoch 1 for lack of ")
    for remedy in ("works_per_batch", "images_per_work", "image_size", "--concurrency"):
        assert remedy in line


@pytest.mark.parametrize("content", [None, "", "pgfault 7\n"])
def test_a_kernel_that_counts_no_kills_is_not_believed_to_kill(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = tmp_path / "vmstat"
    if content is not None:
        counters.write_text(content)
    monkeypatch.setattr(out_of_memory, "COUNTERS", counters)
    assert not out_of_memory.OutOfMemoryKills().are_new()


@pytest.mark.slow
def test_a_search_names_memory_after_three_kills_and_survives_that_of_its_driver(
    small_space: Path, shards: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    options = ["--space", small_space, "--data", shards, "--runs", runs, "--concurrency", 1]
    with started_search(*options, "--trials", 1) as search:
        for _ in range(MAX_ATTEMPTS_WITHOUT_PROGRESS):
            wait_until(lambda: bool(trainings_of(search)), START_TIMEOUT_S, "a training")
            kill_for_memory(trainings_of(search)[-1])
        _, screen = search.communicate(timeout=START_TIMEOUT_S)
    assert search.returncode == 0, screen
    last = [line for line in screen.splitlines() if line.startswith("Last failure")]
    assert "was killed 3 times in epoch 1 for lack of memory" in last[0]
    with started_search(*options, "--trials", 3) as search:
        wait_until(lambda: any(runs.glob("*/start-002/*/checkpoint_000000")), START_TIMEOUT_S, "a checkpoint")
        family = family_of(search)
        assert kill_for_memory(psutil.Process(search.pid)) == -signal.SIGKILL
        psutil.wait_procs(family, timeout=60)
    summary, screen = run_search(*options, "--trials", 3)
    assert "left running by an earlier start" in screen
    states = [trial.state for trial in stored_trials(runs / "optuna.db")]
    assert states.count(TrialState.FAIL) == summary["trials"]["failed"] == 1
    assert len(states) == 4  # a trial that has failed is replaced
    assert TrialState.RUNNING not in states
