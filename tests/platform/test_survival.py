"""What a search survives. Each test ends a part of a real search, and looks at what the stores say afterwards."""

import json
import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from optuna.trial import FrozenTrial, TrialState

from tests.platform.driver import (
    assert_whole,
    family_of,
    run_search,
    started_search,
    stored_trials,
    trainings_of,
    wait_until,
)

pytestmark = pytest.mark.slow

NUM_TRIALS = 6
START_TIMEOUT_S = 240


@pytest.fixture
def options(small_space: Path, shards: Path, tmp_path: Path) -> list[object]:
    return ["--space", small_space, "--data", shards, "--runs", tmp_path / "runs", "--trials", NUM_TRIALS]


def test_a_driver_killed_before_any_checkpoint_loses_nothing(options: list[object], tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with started_search(*options) as search:
        journals = lambda: list(runs.glob("*/journal.jsonl"))  # noqa: E731
        wait_until(lambda: any('"trial"' in file.read_text() for file in journals()), START_TIMEOUT_S, "a first trial")
        family = family_of(search)
        search.kill()
        search.wait()
        assert not list(runs.glob("*/start-001/*/checkpoint_*"))
        wait_until(lambda: not any(member.is_running() for member in family), 60, "the end of every process")
    summary, _ = run_search(*options)
    assert_whole(runs / "optuna.db", runs / "mlflow.db", summary, NUM_TRIALS)


def test_a_driver_killed_with_two_trials_at_a_time_loses_nothing(options: list[object], tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with started_search(*options, "--concurrency", 2) as search:
        wait_until(lambda: any(runs.glob("*/start-001/*/checkpoint_000001")), START_TIMEOUT_S, "a checkpoint")
        search.kill()
        search.wait()
    summary, screen = run_search(*options, "--concurrency", 2)
    assert "left running by an earlier start" in screen
    assert_whole(runs / "optuna.db", runs / "mlflow.db", summary, NUM_TRIALS)


def test_a_trial_whose_process_is_killed_goes_on_from_its_checkpoint(options: list[object], tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with started_search(*options, "--concurrency", 1) as search:
        wait_until(lambda: any(runs.glob("*/start-001/*/checkpoint_000001")), START_TIMEOUT_S, "a checkpoint")
        wait_until(lambda: bool(trainings_of(search)), 60, "a training")
        trainings_of(search)[-1].kill()
        out, screen = search.communicate(timeout=300)
    assert "its process died; attempt 2 resumes" in screen
    assert_whole(runs / "optuna.db", runs / "mlflow.db", json.loads(out.splitlines()[-1]), NUM_TRIALS)
    attempts = [trial.user_attrs["attempts"] for trial in stored_trials(runs / "optuna.db")]
    assert sorted(attempts) == [1] * (NUM_TRIALS - 1) + [2]


def epoch_of(trial: FrozenTrial) -> int:
    """That of the trial's newest checkpoint, by its name; 0 while there is none."""
    name = Path(trial.user_attrs.get("checkpoint", "checkpoint_-1")).name
    return int(name.removeprefix("checkpoint_")) + 1


def test_ctrl_c_leaves_running_trials_to_be_gone_on_with(options: list[object], tmp_path: Path) -> None:
    """They finish their epoch first."""
    runs, options = tmp_path / "runs", [*options, "--epochs", 12]
    with started_search(*options) as search:
        wait_until(lambda: any(runs.glob("*/start-001/*/checkpoint_000000")), START_TIMEOUT_S, "a checkpoint")
        family = family_of(search)
        before = stored_trials(runs / "optuna.db")
        os.killpg(search.pid, signal.SIGINT)  # as a terminal does: to every process in the foreground
        out, screen = search.communicate(timeout=120)
        assert search.returncode == 130
        assert "Stopping after the current epochs" in screen
        assert "Run the same command again to resume them" in screen, screen
        assert json.loads(out.splitlines()[-1])["trials"]["failed"] == 0
        gone = psutil.wait_procs(family, timeout=60)[1]
        assert gone == []
    after = stored_trials(runs / "optuna.db")
    for trial in before:
        # Of one whose checkpoint was not kept yet the last epoch had only just ended, and none after it had begun.
        if trial.state == TrialState.RUNNING and epoch_of(trial) == trial.last_step:
            assert after[trial.number].last_step > trial.last_step
    for trial in after:
        if trial.state == TrialState.RUNNING:
            checkpoint = json.loads((runs / trial.user_attrs["checkpoint"] / "checkpoint.json").read_text())
            assert checkpoint["epoch"] == trial.last_step
    summary, _ = run_search(*options)
    assert_whole(runs / "optuna.db", runs / "mlflow.db", summary, NUM_TRIALS)


def test_ctrl_c_twice_waits_for_no_epoch(shards: Path, tmp_path: Path) -> None:
    space = tmp_path / "long.py"  # an epoch of minutes
    space.write_text(
        'def suggest(trial):\n    trial.suggest_float("nothing", 0, 1)\n'
        '    return {"recipe": "transreid-vit-base", "pretrained": False, "works_per_batch": 4, "images_per_work": 4}\n'
    )
    options = ["--scale", "paper", "--trials", 1]
    with started_search("--space", space, "--data", shards, "--runs", tmp_path / "runs", *options) as search:
        wait_until(lambda: bool(trainings_of(search)), START_TIMEOUT_S, "a training")
        search.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            search.wait(5)
        search.send_signal(signal.SIGINT)
        _, screen = search.communicate(timeout=60)
    assert search.returncode == 130, screen
    assert "Press Ctrl-C again to stop now" in screen


@pytest.mark.parametrize("server", ["raylet", "gcs_server"])
def test_a_search_whose_ray_has_died_ends_in_one_line_and_the_same_command_goes_on(
    options: list[object], tmp_path: Path, server: str
) -> None:
    runs = tmp_path / "runs"
    with started_search(*options, "--concurrency", 1) as search:
        wait_until(lambda: any(runs.glob("*/start-001/*/checkpoint_000001")), START_TIMEOUT_S, "a checkpoint")
        (member,) = [member for member in family_of(search) if member.name() == server]
        member.kill()
        _, screen = search.communicate(timeout=120)
    assert search.returncode == 2, screen
    assert "Traceback" not in screen
    assert f"(process {member.pid}) has died" in screen.splitlines()[-1]
    summary, _ = run_search(*options)
    assert_whole(runs / "optuna.db", runs / "mlflow.db", summary, NUM_TRIALS)


def test_settings_that_fit_into_no_memory_are_pruned_with_the_reason(shards: Path, tmp_path: Path) -> None:
    space = tmp_path / "huge.py"
    space.write_text(
        'def suggest(trial):\n    trial.suggest_float("nothing", 0, 1)\n'
        '    return {"recipe": "transreid-tiny", "id_loss": "arcface", "sub_centers": 10**10}\n'
    )
    words = ["--space", space, "--data", shards, "--runs", tmp_path / "runs", "--trials", 1]
    summary, _ = run_search(*words)
    assert summary["trials"] == {"complete": 0, "pruned": 1, "failed": 0}
    (trial,) = stored_trials(tmp_path / "runs" / "optuna.db")
    assert trial.user_attrs["reason"].startswith("out of memory: ")


def test_hours_that_end_in_the_middle_leave_the_rest_to_the_next_start(options: list[object], tmp_path: Path) -> None:
    _, screen = run_search(*options, "--hours", 0.004)
    assert "Run the same command again to resume them" in screen
    assert any(trial.state == TrialState.RUNNING for trial in stored_trials(tmp_path / "runs" / "optuna.db"))
    summary, _ = run_search(*options)
    assert_whole(tmp_path / "runs" / "optuna.db", tmp_path / "runs" / "mlflow.db", summary, NUM_TRIALS)


def test_settings_that_do_not_train_are_pruned_with_the_reason(shards: Path, tmp_path: Path) -> None:
    """Told as pruned, not failed: the sampler sees them and leaves the corner."""
    space = tmp_path / "wild.py"
    space.write_text(
        "def suggest(trial):\n"
        '    return {"recipe": "transreid-tiny", "backbone": "vit_64x3", "stride_px": 8, "epochs": 3,\n'
        '            "works_per_batch": 4, "optimizer": "sgd", "lr": trial.suggest_float("lr", 1e30, 1e31, log=True)}\n'
    )
    words = ["--space", space, "--data", shards, "--runs", tmp_path / "runs", "--trials", 2, "--concurrency", 1]
    summary, _ = run_search(*words)
    assert summary["trials"] == {"complete": 0, "pruned": 2, "failed": 0}
    assert summary["best"] is None
    reasons = [trial.user_attrs["reason"] for trial in stored_trials(tmp_path / "runs" / "optuna.db")]
    assert all("The loss is" in reason for reason in reasons)


def test_a_second_driver_on_a_running_study_is_refused(options: list[object], tmp_path: Path) -> None:
    with started_search(*options) as search:
        wait_until(
            lambda: any((tmp_path / "runs").glob("*/start-001/*/checkpoint_*")), START_TIMEOUT_S, "a running trial"
        )
        _, screen = run_search(*options, expect=2)
        assert len(screen.splitlines()) == 1
        assert f"is being run by process {search.pid}" in screen
