"""A clock that jumps back and forth by an hour changes no value of a search and loses nothing."""

from pathlib import Path

import pytest

from tests.platform.driver import assert_whole, mlflow_runs, run_search, stored_trials

pytestmark = pytest.mark.slow

NUM_TRIALS = 3

# Python runs this file at the start of every process of the search; monotonic clocks are left alone.
JUMPING = """
import time

own = time.time
monotonic = time.monotonic


def jumping():
    return own() + (3600.0, 0.0, -3600.0, 0.0)[int(monotonic() / 2) % 4]


time.time = jumping
time.time_ns = lambda: int(jumping() * 1e9)
"""


def test_a_clock_that_jumps_by_an_hour_changes_nothing(
    small_space: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--space", small_space, "--data", shards, "--trials", NUM_TRIALS, "--concurrency", 1, "--runs"]
    run_search(*options, tmp_path / "calm")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(JUMPING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    runs = tmp_path / "jumping"
    summary, screen = run_search(*options, runs)
    assert "Traceback" not in screen
    assert_whole(runs / "optuna.db", runs / "mlflow.db", summary, NUM_TRIALS)
    calm = stored_trials(tmp_path / "calm" / "optuna.db")
    for trial, other in zip(calm, stored_trials(runs / "optuna.db"), strict=True):
        assert (trial.state, trial.params, trial.values) == (other.state, other.params, other.values)
        assert trial.intermediate_values == other.intermediate_values
    starts = [run.info.start_time for run in mlflow_runs(runs / "mlflow.db")]
    assert max(starts) - min(starts) > 1_800_000, "the clock did not jump"  # milliseconds
