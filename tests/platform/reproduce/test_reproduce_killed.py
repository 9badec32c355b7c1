"""A table survives `kill -9`: its numbers are those of the undisturbed one, and MLflow has every training once."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from optuna.trial import TrialState

from tests.platform.driver import ROOT, end_family, family_of, mlflow_runs, wait_until

pytestmark = pytest.mark.slow

ROWS = ("ViT-Base", "ViT-Stride")
START_TIMEOUT_S = 240


def command(shards: Path, runs: Path, *options: object) -> list[str]:
    words = ["lsasrd-5", "--data", shards, "--runs", runs, "--scale", "tiny", "--rows", *ROWS, *options]
    # One at a time, so that the first has ended and the second has not when the driver is killed.
    return [sys.executable, "-m", "platform.reproduce", *map(str, words), "--concurrency", "1", "--json"]


def reproduced(shards: Path, runs: Path, *options: object) -> tuple[dict[str, Any], str]:
    """Run the command to its end: its JSON, and what people read."""
    words = command(shards, runs, *options)
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def num_unfinished(runs: Path) -> int:
    """How many trainings the table's study still waits for."""
    (name,) = optuna.get_all_study_names(f"sqlite:///{runs / 'optuna.db'}")
    study = optuna.load_study(study_name=name, storage=f"sqlite:///{runs / 'optuna.db'}")
    return sum(not trial.state.is_finished() for trial in study.trials)


def assert_every_training_once(runs: Path, wanted: list[tuple[str, int]]) -> None:
    """Complete in Optuna; in MLflow a parent run, and one finished child for each recipe and seed."""
    (name,) = optuna.get_all_study_names(f"sqlite:///{runs / 'optuna.db'}")
    study = optuna.load_study(study_name=name, storage=f"sqlite:///{runs / 'optuna.db'}")
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * len(wanted)
    told = mlflow_runs(runs / "mlflow.db")
    children = [run for run in told if "trial" in run.data.tags]
    assert len(told) == len(children) + 1
    assert sorted((run.data.params["recipe"], int(run.data.params["seed"])) for run in children) == sorted(wanted)
    assert {run.info.status for run in told} == {"FINISHED"}
    for run in children:
        assert run.data.metrics["mAP"] == study.trials[int(run.data.tags["trial"])].value


def test_a_table_that_was_killed_in_the_middle_ends_as_the_undisturbed_one(shards: Path, tmp_path: Path) -> None:
    undisturbed, _ = reproduced(shards, tmp_path / "undisturbed", "--epochs", 2)
    runs = tmp_path / "killed"
    driver = subprocess.Popen(
        command(shards, runs, "--epochs", 2),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        second = lambda: any(runs.glob("*/start-001/trial-0001-1"))  # noqa: E731
        wait_until(second, START_TIMEOUT_S, "the second training")
        family = family_of(driver)
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait(30)
        assert psutil.wait_procs(family, timeout=60)[1] == []
    finally:
        end_family(driver)
    num_left = num_unfinished(runs)
    assert num_left >= 1  # killed in the middle
    killed, screen = reproduced(shards, runs, "--epochs", 2)
    assert f"Trainings: 2 (rows: 2, folds: 1, seeds: 1); {num_left} left" in screen
    assert killed["rows"] == undisturbed["rows"]
    assert [(row["name"], row["metric"]) for row in killed["rows"][:2]] == [("ViT-Base", "mAP"), ("ViT-Base", "mINP")]
    wanted = [("transreid-vit-base-tiny", 0), ("transreid-vit-stride-tiny", 0)]
    assert_every_training_once(runs, wanted)
    assert_every_training_once(tmp_path / "undisturbed", wanted)
    again, screen = reproduced(shards, runs, "--epochs", 2, "--seeds", 2)
    assert "Trainings: 4 (rows: 2, folds: 1, seeds: 2); 2 left" in screen
    assert [row["values"][0] for row in again["rows"]] == [row["values"][0] for row in killed["rows"]]
    assert_every_training_once(runs, [*wanted, *((recipe, 1) for recipe, _ in wanted)])
    done, screen = reproduced(shards, runs, "--epochs", 2, "--seeds", 2)
    assert "; 0 left" in screen
    assert done["rows"] == again["rows"]
