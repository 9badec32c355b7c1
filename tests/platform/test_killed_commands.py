"""`studies delete`, `report` and the registration of models, killed at their steps: the same command completes them."""

import tempfile
from pathlib import Path
from typing import Any

import mlflow.store.model_registry.sqlalchemy_store
import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  imported before the forks
import optuna
import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType

from platform import report, studies
from platform.reporting import gather, page, subject  # noqa: F401  imported before the forks
from shards_tools.build import build
from shards_tools.errors import Error
from shards_tools.sources.lsasrd import scan
from tests.conftest import draw_tree
from tests.platform.killed import Case, ends_of
from tests.platform.stored_by_hand import TRIALS, database, study_by_hand
from tests.platform.tracking.test_model_registry import tell, versions
from trainables import train

pytestmark = pytest.mark.slow


def store_of(runs: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{runs}/mlflow.db", f"sqlite:///{runs}/mlflow.db")


def begin_experiment(runs: Path, name: str) -> None:
    """The study in both stores, with its folder and a registered model."""
    study_by_hand(name, database(runs), trials=TRIALS[:4])
    client = store_of(runs)
    experiment = client.create_experiment(name, artifact_location=(runs / "artifacts").as_uri())
    parent = client.create_run(experiment, run_name=name).info.run_id
    client.create_run(experiment, tags={"mlflow.parentRunId": parent, "trial": "0"})
    client.create_registered_model(name)
    for file in ("journal.jsonl", "start-001/trial-0000-1/checkpoint_000000/weights", "start-001/log"):
        (runs / name / file).parent.mkdir(parents=True, exist_ok=True)
        (runs / name / file).write_text("kept")


def begin_two(runs: Path) -> None:
    for name in ("one", "other"):
        begin_experiment(runs, name)
    optuna.create_study(study_name="one-folds", storage=database(runs))


def delete(runs: Path) -> None:
    try:
        studies.main(["delete", "one", "--runs", str(runs)])
    except Error:
        if what_is_left(runs)["studies"] != ["other"]:  # the kill came after everything was deleted
            raise


def what_is_left(runs: Path) -> dict[str, Any]:
    client = store_of(runs)
    kept = client.search_experiments(view_type=ViewType.ALL)
    return {
        "studies": optuna.get_all_study_names(database(runs)),
        "experiments": sorted((one.name, one.lifecycle_stage) for one in kept),
        "models": [one.name for one in client.search_registered_models()],
        "folders": sorted(str(path.relative_to(runs)) for path in runs.rglob("*") if path.is_dir()),
        "files": len([path for path in (runs / "other").rglob("*") if path.is_file()]),
    }


DELETION = Case(begin_two, delete, what_is_left)


def test_a_deletion_that_is_killed_at_any_step_is_completed(tmp_path: Path) -> None:
    undisturbed, *ends = ends_of(f"{__name__}:DELETION", tmp_path / "killed", 100)
    assert undisturbed["studies"] == undisturbed["models"] == ["other"]
    assert ["one (deleted, experiment 1)", "deleted"] in undisturbed["experiments"]
    assert "one" not in undisturbed["folders"]
    assert len(ends) > 20
    assert all(end == undisturbed for end in ends)


def make_report(runs: Path) -> None:
    report.main(["one", "--runs", str(runs), "--out", str(runs / "out")])


def files_of_report(runs: Path) -> dict[str, Any]:
    """The files on disk and in MLflow; hidden ones too."""
    kept = runs / "artifacts"
    (logged,) = kept.rglob("report")
    names = sorted(str(file.relative_to(runs / "out")) for file in (runs / "out").rglob("*"))
    same = all((logged / name).read_bytes() == (runs / "out" / name).read_bytes() for name in names if "." in name)
    return {
        "files": names,
        "logged": sorted(str(file.relative_to(logged)) for file in logged.rglob("*")),
        "are the same": same,
        "beside": sorted(path.name for path in runs.iterdir()),
    }


REPORT = Case(lambda runs: begin_experiment(runs, "one"), make_report, files_of_report)


def test_a_report_that_is_killed_at_any_step_is_completed(tmp_path: Path) -> None:
    undisturbed, *ends = ends_of(f"{__name__}:REPORT", tmp_path / "killed", 8)
    assert undisturbed["are the same"]
    assert undisturbed["files"] == undisturbed["logged"]
    assert "index.html" in undisturbed["files"]
    assert len(ends) == 8
    assert all(end == undisturbed for end in ends)


def begin_checkpoint(runs: Path) -> None:
    """A checkpoint of one epoch, and an empty temporary folder of the case's own."""
    (runs / "tmp").mkdir()
    shards = runs / "shards"
    build(scan(draw_tree(runs / "tree", num_images=2)), shards)
    words = ["--recipe", "transreid-tiny", "--data", str(shards), "--out", str(runs / "out"), "--epochs", "1", "--set"]
    train.main([*words, "backbone=vit_64x3", "stride_px=8", "works_per_batch=4", "images_per_epoch=16"])


def register(runs: Path) -> None:
    tempfile.tempdir = str(runs / "tmp")
    tell(runs, f"sqlite:///{runs}/mlflow.db", runs / "out" / "last", best=1)


def what_is_registered(runs: Path) -> dict[str, Any]:
    client = store_of(runs)
    experiment = client.get_experiment_by_name("s").experiment_id
    models = client.search_logged_models([experiment])
    logged = client.search_runs([experiment], "tags.trial = '1'")
    return {
        "versions": versions(client),
        "aliases": {alias: str(one) for alias, one in client.get_registered_model("s").aliases.items()},
        "models": sorted((model.tags["trial"], str(model.status), len(model.metrics)) for model in models),
        "files": sorted(len(list(folder.rglob("*"))) for folder in (runs / "artifacts" / "models").iterdir()),
        "points": [len(client.get_metric_history(run.info.run_id, "mAP")) for run in logged],
        "outputs": [len(run.outputs.model_outputs) for run in logged],
    }


REGISTRATION = Case(begin_checkpoint, register, what_is_registered, every=50)


def test_a_registration_that_is_killed_at_any_step_is_completed(tmp_path: Path) -> None:
    undisturbed, *ends = ends_of(f"{__name__}:REGISTRATION", tmp_path / "killed", 8)
    assert undisturbed["versions"] == {"1": "1", "2": "0"}
    assert undisturbed["aliases"] == {"best": "1", "baseline": "2"}
    assert undisturbed["models"] == [["0", "READY", 1], ["1", "READY", 1]]
    assert undisturbed["points"] == undisturbed["outputs"] == [1]
    assert len(ends) == 8
    assert all(end == undisturbed for end in ends)
