"""The command with `--final-train`: on a test split that cannot be read, and killed in the middle of the training."""

import json
from pathlib import Path

import numpy as np
import pytest

from platform import evaluate
from shards_tools.errors import Error
from shards_tools.manifest_file import read_manifest
from tests.platform.driver import kill_driver, mlflow_runs, run_search, started_search, wait_until
from tests.platform.finalize.test_final_test import poisoned, short

pytestmark = pytest.mark.slow


def test_a_search_trains_its_best_on_train_and_val_and_never_reads_the_test_split(
    small_space: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No image of test can be decoded, and still the search succeeds; its weights are registered."""
    manifest = read_manifest(shards)
    split = manifest.split()
    bad = poisoned(shards, np.concatenate([split.test_query, split.test_gallery]), tmp_path / "poisoned")
    runs = tmp_path / "runs"
    words = [*short(small_space, bad, runs), "--final-train"]
    summary, screen = run_search(*words)
    final = summary["final"]
    assert final["trial"] == summary["best"]["trial"]
    assert final["evaluate"] in screen
    info = json.loads((Path(final["checkpoint"]) / "checkpoint.json").read_text())
    assert (info["trained_on"], info["epoch"], "mAP" in info["metrics"]) == (["train", "val"], 2, False)
    works = np.unique(manifest.work[np.concatenate([split.train, split.val_query, split.val_gallery])])
    assert info["works"] == [manifest.works[work] for work in works]

    rows = mlflow_runs(runs / "mlflow.db")
    (own,) = (run for run in rows if run.data.tags.get("final_of") == str(final["trial"]))
    assert (own.info.run_id, own.info.status) == (final["mlflow_run_id"], "FINISHED")
    assert own.data.metrics["loss"] == pytest.approx(info["metrics"]["loss"])
    assert sum("mlflow.parentRunId" not in run.data.tags for run in rows) == 1
    assert model_behind(runs, summary["study"], "final") == own.info.run_id

    capsys.readouterr()
    with pytest.raises(Error, match=r"or evaluate with --split test\.$"):
        evaluate.main([final["checkpoint"], "--data", str(bad)])
    with pytest.raises(Error, match="is a broken image"):
        evaluate.main([final["checkpoint"], "--data", str(bad), "--split", "test"])
    again, screen = run_search(*words)
    assert "Final training" not in screen
    assert again["final"] == final


def model_behind(runs: Path, study: str, alias: str) -> str:
    """The run of the registered model's version that an alias names."""
    from mlflow import MlflowClient

    found = MlflowClient(f"sqlite:///{runs / 'mlflow.db'}").get_model_version_by_alias(study, alias)
    return str(found.run_id)


def test_a_final_training_that_is_killed_ends_as_the_undisturbed_one(
    small_space: Path, shards: Path, tmp_path: Path
) -> None:
    def words(runs: Path) -> list[object]:
        few = ["--trials", 2, "--epochs", 4, "--concurrency", 1, "--pruner", "none"]
        return ["--space", small_space, "--data", shards, "--runs", runs, *few, "--final-train"]

    undisturbed, _ = run_search(*words(tmp_path / "undisturbed"))
    runs = tmp_path / "killed"
    with started_search(*words(runs)) as search:
        first = lambda: any(runs.glob("*/final-train/start-001/trial-0000-1/checkpoint_*"))  # noqa: E731
        wait_until(first, 400, "a checkpoint of the final training")
        kill_driver(search)
    killed, screen = run_search(*words(runs))
    assert "1 resume from their last checkpoint" in screen
    weights = [(Path(one["final"]["checkpoint"]) / "weights.safetensors").read_bytes() for one in (undisturbed, killed)]
    assert weights[0] == weights[1]
    (own,) = (run for run in mlflow_runs(runs / "mlflow.db") if "final_of" in run.data.tags)
    assert own.info.status == "FINISHED"
