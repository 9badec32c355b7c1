"""The search as people run it: one undisturbed, one killed and gone on with, and the two are the same."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from optuna.trial import FrozenTrial

from tests.platform.driver import ROOT, kill_driver, mlflow_runs, run_search, started_search, stored_trials, wait_until

NUM_TRIALS = 6


def options(space: Path, shards: Path, runs: Path) -> list[object]:
    return ["--space", space, "--data", shards, "--runs", runs, "--trials", NUM_TRIALS, "--concurrency", 1]


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory, small_space_text: str) -> Path:
    path = tmp_path_factory.mktemp("space") / "small.py"
    path.write_text(small_space_text)
    return path


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, space: Path, shards: Path
) -> tuple[Path, dict[str, Any], str]:
    """A search with one trial at a time: its folder, its JSON and what people read."""
    runs = tmp_path_factory.mktemp("undisturbed")
    return runs, *run_search(*options(space, shards, runs))


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, space: Path, shards: Path) -> tuple[Path, dict[str, Any], str]:
    """The same search, its driver killed when a running trial had a checkpoint, and the same command given again."""
    runs = tmp_path_factory.mktemp("killed")
    with started_search(*options(space, shards, runs)) as search:
        # With the second checkpoint on disk, the study knows of the first. A baseline is not pruned there.
        wait_until(lambda: any(runs.glob("*/start-001/trial-0001-1/checkpoint_000001")), 240, "a checkpoint of trial 1")
        kill_driver(search)
    return runs, *run_search(*options(space, shards, runs))


def _told(trials: list[FrozenTrial]) -> list[tuple[Any, ...]]:
    return [(trial.number, trial.state, trial.params, trial.value, trial.intermediate_values) for trial in trials]


def test_the_study_holds_the_trials_that_were_asked_for(undisturbed: tuple[Path, dict[str, Any], str]) -> None:
    runs, summary, _ = undisturbed
    states = Counter(trial.state.name for trial in stored_trials(runs / "optuna.db"))
    assert states["COMPLETE"] + states["PRUNED"] == NUM_TRIALS
    assert summary["trials"] == {"complete": states["COMPLETE"], "pruned": states["PRUNED"], "failed": 0}


def test_the_best_value_is_that_of_the_checkpoint_beside_it(undisturbed: tuple[Path, dict[str, Any], str]) -> None:
    _, summary, _ = undisturbed
    info = json.loads((Path(summary["best"]["checkpoint"]) / "checkpoint.json").read_text())
    assert info["metrics"]["mAP"] == summary["best"]["value"]
    assert info["epoch"] == info["recipe"]["epochs"]


def test_a_complete_trial_keeps_its_last_checkpoint_and_a_pruned_one_none(
    undisturbed: tuple[Path, dict[str, Any], str],
) -> None:
    runs, summary, _ = undisturbed
    for trial in stored_trials(runs / "optuna.db"):
        kept = [str(path) for path in runs.glob(f"{summary['study']}/start-*/trial-{trial.number:04d}-*/checkpoint_*")]
        assert kept == ([str(runs / trial.user_attrs["checkpoint"])] if trial.state.name == "COMPLETE" else [])


def test_the_evaluation_of_the_best_checkpoint_gives_its_value(
    undisturbed: tuple[Path, dict[str, Any], str], shards: Path
) -> None:
    best = undisturbed[1]["best"]
    words = [sys.executable, "-m", "platform.evaluate", best["checkpoint"], "--data", str(shards), "--json"]
    result = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(result.stdout.splitlines()[-1])["mAP"] == pytest.approx(best["value"], abs=1e-6)


def test_mlflow_shows_one_parent_and_one_child_per_trial(undisturbed: tuple[Path, dict[str, Any], str]) -> None:
    runs, summary, _ = undisturbed
    trials = stored_trials(runs / "optuna.db")
    children = [run for run in mlflow_runs(runs / "mlflow.db") if "mlflow.parentRunId" in run.data.tags]
    parents = [run for run in mlflow_runs(runs / "mlflow.db") if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 1
    assert {int(run.data.tags["trial"]): run.data.tags["state"] for run in children} == {
        trial.number: trial.state.name for trial in trials
    }
    for run in children:
        trial = trials[int(run.data.tags["trial"])]
        assert run.data.metrics["mAP"] == trial.intermediate_values[trial.last_step]
        assert float(run.data.params["lr"]) == trial.params["lr"]
    best = next(run for run in children if run.info.run_id == summary["best"]["mlflow_run_id"])
    assert int(best.data.tags["trial"]) == summary["best"]["trial"]


def test_the_best_weights_are_an_artifact_of_the_best_run(undisturbed: tuple[Path, dict[str, Any], str]) -> None:
    runs, summary, _ = undisturbed
    kept = runs / "artifacts" / summary["best"]["mlflow_run_id"] / "artifacts" / "checkpoint" / "weights.safetensors"
    assert kept.read_bytes() == (Path(summary["best"]["checkpoint"]) / "weights.safetensors").read_bytes()


def test_nothing_foreign_is_on_the_screen(undisturbed: tuple[Path, dict[str, Any], str]) -> None:
    _, _, screen = undisturbed
    table = ("┏", "┃", "┡", "│", "└")
    ours = ("Study ", "Data ", "0 of ", "trial ", *table, "Best weights", "Evaluate: ", "Compare runs", "Report: ")
    lines = [line for line in screen.splitlines() if line.strip() and "complete," not in line]
    assert [line for line in lines if not line.startswith(ours)] == []


def test_a_report_says_what_the_search_says(undisturbed: tuple[Path, dict[str, Any], str], tmp_path: Path) -> None:
    runs, summary, _ = undisturbed
    words = [summary["study"], "--runs", str(runs), "--out", str(tmp_path / "out"), "--json"]
    ended = subprocess.run([sys.executable, "-m", "platform.report", *words], capture_output=True, text=True, cwd=ROOT)
    found = json.loads(ended.stdout.splitlines()[-1])
    assert {key: found["best"][key] for key in ("trial", "value", "params")} == {
        key: summary["best"][key] for key in ("trial", "value", "params")
    }
    assert found["chance"] == summary["chance"]
    assert found["missing"] == []
    assert found["mlflow_run_id"] is not None
    assert "val_cmc" in found["figures"]


def test_the_same_command_again_trains_nothing(
    undisturbed: tuple[Path, dict[str, Any], str], space: Path, shards: Path
) -> None:
    runs, summary, _ = undisturbed
    before = sorted(path for path in runs.rglob("checkpoint.json"))
    again, screen = run_search(*options(space, shards, runs))
    assert {**again, "seconds": 0} == {**summary, "seconds": 0}
    assert "epoch " not in screen
    assert sorted(path for path in runs.rglob("checkpoint.json")) == before


@pytest.mark.slow
def test_the_same_seed_and_budget_twice_are_identical(
    undisturbed: tuple[Path, dict[str, Any], str], space: Path, shards: Path, tmp_path: Path
) -> None:
    summary, _ = run_search(*options(space, shards, tmp_path))
    assert _told(stored_trials(tmp_path / "optuna.db")) == _told(stored_trials(undisturbed[0] / "optuna.db"))
    for key in ("trial", "value", "params"):
        assert summary["best"][key] == undisturbed[1]["best"][key]


def test_a_killed_search_ends_as_the_undisturbed_one(
    undisturbed: tuple[Path, dict[str, Any], str], killed: tuple[Path, dict[str, Any], str]
) -> None:
    """Same parameters, same values of every epoch, same states; none RUNNING, none twice."""
    trials = [_told(stored_trials(runs / "optuna.db")) for runs in (undisturbed[0], killed[0])]
    assert trials[0] == trials[1]
    assert killed[1]["trials"] == undisturbed[1]["trials"]
    assert killed[1]["best"]["value"] == undisturbed[1]["best"]["value"]


def test_the_killed_trial_went_on_from_its_checkpoint(killed: tuple[Path, dict[str, Any], str]) -> None:
    trials = stored_trials(killed[0] / "optuna.db")
    assert sorted(trial.user_attrs["attempts"] for trial in trials) == [1] * (NUM_TRIALS - 1) + [2]
    assert "1 left running by an earlier start" in killed[2]


def test_after_the_kill_mlflow_has_each_trial_once_and_each_epoch_once(
    killed: tuple[Path, dict[str, Any], str],
) -> None:
    database = killed[0] / "mlflow.db"
    runs = mlflow_runs(database)
    assert sum("mlflow.parentRunId" not in run.data.tags for run in runs) == 1
    numbers = [int(run.data.tags["trial"]) for run in runs if "trial" in run.data.tags]
    assert sorted(numbers) == list(range(NUM_TRIALS))
    assert all(run.info.status in ("FINISHED", "KILLED") for run in runs)
    trials = stored_trials(killed[0] / "optuna.db")
    client = MlflowClient(f"sqlite:///{database}")
    for run in runs:
        if "trial" in run.data.tags:
            steps = [point.step for point in client.get_metric_history(run.info.run_id, "mAP")]
            assert sorted(steps) == sorted(trials[int(run.data.tags["trial"])].intermediate_values)
