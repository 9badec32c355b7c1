"""The artifacts of a study are written and found below --runs, also after that folder was moved or copied."""

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from platform.tracking.moved_artifacts import follow_move

pytestmark = pytest.mark.integration


def test_artifacts_follow_a_copied_folder_and_the_original_stays(tmp_path: Path) -> None:
    runs, copy, file = tmp_path / "my runs", tmp_path / "copy", tmp_path / "weights"
    runs.mkdir()
    file.write_text("first")
    client = MlflowClient(f"sqlite:///{runs}/mlflow.db")
    ids = {}
    for study in ("moved", "other"):
        experiment = client.create_experiment(study, artifact_location=(runs / "artifacts").as_uri())
        ids[study] = client.create_run(experiment).info.run_id
        place = runs / "artifacts" / ids[study] / "artifacts"  # by hand: MLflow caches a run's place in this process
        place.mkdir(parents=True)
        shutil.copy(file, place)
    model = client.create_logged_model(client.get_experiment_by_name("moved").experiment_id, "m", ids["moved"])
    client.create_registered_model("moved")
    client.create_model_version("moved", model.artifact_location, ids["moved"], model_id=model.model_id)
    shutil.copytree(runs, copy)
    follow_move(copy / "mlflow.db", "moved", copy / "artifacts")
    follow_move(copy / "mlflow.db", "moved", copy / "artifacts")  # changes nothing more

    there = MlflowClient(f"sqlite:///{copy}/mlflow.db")
    file.write_text("second")
    there.log_artifact(ids["moved"], str(file))
    kept = f"artifacts/{ids['moved']}/artifacts/weights"
    assert ((runs / kept).read_text(), (copy / kept).read_text()) == ("first", "second")
    assert there.get_run(ids["moved"]).info.artifact_uri.startswith((copy / "artifacts").as_uri())
    assert there.get_run(ids["other"]).info.artifact_uri.startswith((runs / "artifacts").as_uri())
    (version,) = there.search_model_versions("name='moved'")
    assert there.get_model_version_download_uri("moved", version.version).startswith((copy / "artifacts").as_uri())
    assert client.get_run(ids["moved"]).info.artifact_uri.startswith((runs / "artifacts").as_uri())


@pytest.mark.parametrize("content", [None, b"", b"no database" * 99])
def test_a_missing_or_damaged_database_stays_as_it_is(tmp_path: Path, content: bytes | None) -> None:
    database = tmp_path / "mlflow.db"
    if content is not None:
        database.write_bytes(content)
    follow_move(database, "s", tmp_path / "artifacts")
    assert (database.read_bytes() if database.exists() else None) == content
