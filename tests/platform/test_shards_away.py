"""Shards that go away under a search end it with one line; once they are back, the same command resumes."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from tests.platform.driver import has_epochs, run_search, started_search, stored_trials, wait_until

pytestmark = pytest.mark.slow

NUM_TRIALS = 4


def values_of(runs: Path) -> list[tuple[dict[str, Any], dict[int, float]]]:
    return [(trial.params, trial.intermediate_values) for trial in stored_trials(runs / "optuna.db")]


def test_a_shard_that_is_deleted_while_it_is_read_costs_no_trial(
    shards: Path, small_space: Path, tmp_path: Path
) -> None:
    data = tmp_path / "shards"
    shutil.copytree(shards, data)
    words = ["--space", small_space, "--data", data, "--reading", "offset", "--trials", NUM_TRIALS, "--concurrency", 1]
    runs = tmp_path / "runs"
    shard = min(data.glob("*.tar"))
    with started_search(*words, "--runs", runs) as search:
        wait_until(lambda: has_epochs(runs / "optuna.db", 0), 300, "the first epoch")
        shard.rename(tmp_path / "gone.tar")
        _, screen = search.communicate(timeout=300)
    assert search.returncode == 2
    last = screen.strip().splitlines()[-1]
    assert f"{shard} is missing" in last
    assert "Run the same command again; running trials resume" in last
    assert "Traceback" not in screen
    states = [trial.state for trial in stored_trials(runs / "optuna.db")]
    assert TrialState.RUNNING in states
    assert TrialState.FAIL not in states
    (tmp_path / "gone.tar").rename(shard)
    summary, _ = run_search(*words, "--runs", runs)
    assert summary["trials"]["failed"] == 0
    run_search(*words, "--runs", tmp_path / "undisturbed")
    assert values_of(runs) == values_of(tmp_path / "undisturbed")
