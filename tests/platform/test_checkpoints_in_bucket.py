"""A search whose checkpoints a bucket keeps (rclone's S3): killed, gone on with, without its bucket for a while."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState

from platform import evaluate
from tests.platform.driver import assert_whole, run_search, started_search, stored_trials, wait_until
from tests.s3_server import S3Server, opened_bucket
from trainables.training.checkpoint_store import bucket_of

pytestmark = pytest.mark.slow

PLACE = "s3://bucket/kept"
START_TIMEOUT_S = 240


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with opened_bucket(tmp_path, monkeypatch) as server:
        yield server


@pytest.fixture
def options(small_space: Path, shards: Path, tmp_path: Path) -> list[object]:
    own = ["--space", small_space, "--data", shards, "--runs", tmp_path / "runs", "--checkpoints", PLACE]
    return [*own, "--concurrency", 1]


def kept(server: S3Server) -> list[Path]:
    """Every checkpoint in the bucket that is whole."""
    return sorted(file.parent for file in server.folder.glob("bucket/kept/**/checkpoint.json"))


def has_ended(trial: FrozenTrial) -> bool:
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def running_checkpoint(database: Path) -> str:
    """Of the trial that runs; empty while it has none."""
    running = [trial for trial in stored_trials(database) if trial.state == TrialState.RUNNING]
    return next((trial.user_attrs.get("checkpoint", "") for trial in running), "")


def places_of(database: Path) -> list[str]:
    """Where the checkpoints of its complete trials lie."""
    trials = stored_trials(database)
    return [trial.user_attrs["checkpoint"] for trial in trials if trial.state == TrialState.COMPLETE]


def test_a_search_whose_machine_is_lost_goes_on_from_the_bucket(
    server: S3Server, options: list[object], shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a study of the same name nothing is touched, and of each complete trial one checkpoint stays."""
    undisturbed, _ = run_search(*options, "--trials", 4, "--runs", tmp_path / "other")
    runs, storage, tracking = tmp_path / "runs", tmp_path / "optuna.db", tmp_path / "mlflow.db"
    stores = ["--storage", f"sqlite:///{storage}", "--tracking", f"sqlite:///{tracking}"]
    num_before = len(kept(server))
    with started_search(*options, *stores, "--trials", 4) as search:
        wait_until(lambda: len(kept(server)) > num_before, START_TIMEOUT_S, "a checkpoint")
        wait_until(lambda: any(map(has_ended, stored_trials(storage))), START_TIMEOUT_S, "the end of a trial")
        wait_until(lambda: bool(running_checkpoint(storage)), START_TIMEOUT_S, "a checkpoint of one that runs")
        search.kill()
        search.wait()
    shutil.rmtree(runs)
    summary, screen = run_search(*options, *stores, "--trials", 4)
    assert "left running by an earlier start" in screen
    assert_whole(storage, tracking, summary, 4)
    assert summary["best"]["value"] == undisturbed["best"]["value"]
    assert not [file for file in runs.glob("**/checkpoint_*") if "artifacts" not in file.parts]
    found = [f"s3://{folder.relative_to(server.folder)}" for folder in kept(server)]
    assert found == sorted(places_of(storage) + places_of(tmp_path / "other/optuna.db"))
    evaluate.main([summary["best"]["checkpoint"], "--data", str(shards), "--json"])
    assert json.loads(capsys.readouterr().out)["mAP"] == pytest.approx(summary["best"]["value"], abs=1e-6)


def test_a_bucket_that_goes_away_is_waited_for(server: S3Server, options: list[object], tmp_path: Path) -> None:
    with started_search(*options, "--trials", 2) as search:
        wait_until(lambda: len(kept(server)) >= 1, START_TIMEOUT_S, "a checkpoint")
        server.kill()
        before = stored_trials(tmp_path / "runs/optuna.db")
        time.sleep(15)
        assert search.poll() is None
        after = stored_trials(tmp_path / "runs/optuna.db")
        assert sum(len(trial.intermediate_values) for trial in after) <= 1 + sum(
            len(trial.intermediate_values) for trial in before
        )
        server.start()
        out, screen = search.communicate(timeout=300)
    assert search.returncode == 0, screen
    assert_whole(tmp_path / "runs/optuna.db", tmp_path / "runs/mlflow.db", json.loads(out.splitlines()[-1]), 2)
    assert [trial.user_attrs["attempts"] for trial in stored_trials(tmp_path / "runs/optuna.db")] == [1, 1]


def test_folds_and_finalists_take_their_weights_from_the_bucket(
    server: S3Server, small_space: Path, five_folds: Path, tmp_path: Path
) -> None:
    words = ["--space", small_space, "--data", five_folds, "--runs", tmp_path / "runs", "--checkpoints", PLACE]
    stages = ["--folds", 2, "--finalists", 1, "--final-seeds", 1, "--trials", 3, "--epochs", 1, "--pruner", "none"]
    summary, _ = run_search(*words, *stages)
    (finalist, *_) = summary["finalists"]
    studies = {folder.parents[2].name for folder in kept(server)}
    assert len(studies) == 2, "the search's own and the finalists'; of other folds the numbers are enough"
    assert all(bucket_of(place) for place in finalist["checkpoints"])


def test_a_bucket_that_refuses_ends_the_start_in_a_line(
    server: S3Server, options: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    _, screen = run_search(*options, "--trials", 2, expect=2)
    (line,) = screen.splitlines()
    assert line.startswith(f"error: --checkpoints {PLACE}: ")
    assert "cannot be" in line
    assert not (tmp_path / "runs").exists()
