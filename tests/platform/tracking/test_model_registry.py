"""The best of a study is registered once, and a server of MLflow's answers about pictures as our command does."""

import base64
import json
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from mlflow import MlflowClient

from platform import predict
from platform.tracking.journal import Journal
from platform.tracking.tracker import Tracker
from shards_tools.manifest_file import read_manifest
from shards_tools.reader import read_image
from tests.platform.browser import opened_page
from tests.platform.driver import end_family, wait_until
from tests.platform.mlflow_server import MlflowServer, answers, ask, own_environment, served
from tests.platform.postgres import free_port, running_server
from trainables.inference.verification import measure, write_verification

pytestmark = pytest.mark.slow


@pytest.fixture
def measured(checkpoint: Path, shards: Path, tmp_path: Path) -> Path:
    """A checkpoint with thresholds."""
    copy = shutil.copytree(checkpoint, tmp_path / "checkpoint")
    write_verification(copy, measure(copy, read_manifest(shards)))
    return copy


def tell(folder: Path, uri: str, checkpoint: Path, best: int) -> MlflowClient:
    """Let the journal of a study of three trials, of which one is the best and the first a paper row, reach a store."""
    with Journal(folder / "s" / "journal.jsonl") as journal:
        if not journal.size():
            for trial in range(3):
                journal.append("trial", trial=trial, name=f"trial {trial}", params={}, tags={}, time=100.0)
                journal.append("metrics", trial=trial, step=4, time=101.0, values={"mAP": 0.1 * trial})
                journal.append("end", trial=trial, state="COMPLETE", reason="", time=102.0)
        models = [
            {"trial": number, "alias": alias, "checkpoint": str(checkpoint), "metrics": ["mAP"], "note": "A note."}
            for number, alias in ((best, "best"), (0, "baseline"))
        ]
        state = {"trial": best, "checkpoint": str(checkpoint), "tags": {}, "metrics": {}, "models": models}
        journal.append("study", **state, time=103.0)
        tracker = Tracker(journal, uri=uri, artifacts=folder / "artifacts", study="s", params={}, tags={})
        tracker.start()
        tracker.close(300)  # two models are some 300 files, each a call
        assert not tracker.unsent, tracker.trouble
    return MlflowClient(uri)


def versions(client: MlflowClient) -> dict[str, str]:
    """Version -> the trial that it is of."""
    return {str(found.version): found.tags["trial"] for found in client.search_model_versions("name='s'")}


def best_runs(client: MlflowClient) -> list[str]:
    """The trials whose runs have the tag `best`."""
    experiment = client.get_experiment_by_name("s")
    return [run.data.tags["trial"] for run in client.search_runs([experiment.experiment_id], "tags.best = 'true'")]


def test_the_best_is_registered_once_and_aliases_follow_it(measured: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = tell(tmp_path, uri, measured, best=1)
    assert versions(client) == {"1": "1", "2": "0"}
    assert best_runs(client) == ["1"]
    (tmp_path / "s" / "journal.sent.json").unlink()  # as after a kill between the store and this file
    assert versions(tell(tmp_path, uri, measured, best=1)) == {"1": "1", "2": "0"}
    client = tell(tmp_path, uri, measured, best=2)
    assert versions(client) == {"1": "1", "2": "0", "3": "2"}
    aliases = {alias: str(version) for alias, version in client.get_registered_model("s").aliases.items()}
    assert aliases == {"best": "3", "baseline": "2"}
    assert best_runs(client) == ["2"]
    models = client.search_logged_models([client.get_experiment_by_name("s").experiment_id])
    assert {(model.tags["trial"], str(model.status)) for model in models} == {(n, "READY") for n in "012"}
    numbers = {model.tags["trial"]: [(one.key, one.value, one.step) for one in model.metrics] for model in models}
    assert numbers["2"] == [("mAP", 0.2, 4)]
    for run in client.search_runs([client.get_experiment_by_name("s").experiment_id], "tags.trial = '2'"):
        assert len(client.get_metric_history(run.info.run_id, "mAP")) == 1
        assert len(run.outputs.model_outputs) == 1
    kept = list((tmp_path / "artifacts" / "models").rglob("*"))
    assert [file.name for file in kept].count("served_model.py") == 3
    assert [file for file in kept if file.suffix in (".pkl", ".pickle")] == [], "loading one could run anything"


def test_a_model_that_a_killed_start_left_half_done_is_finished(measured: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = tell(tmp_path, uri, measured, best=0)
    experiment = client.get_experiment_by_name("s").experiment_id
    (run,) = client.search_runs([experiment], "tags.trial = '2'")
    begun = client.create_logged_model(experiment, "trial-2", run.info.run_id, {"trial": "2"})
    client = tell(tmp_path, uri, measured, best=2)
    found = client.search_logged_models([experiment], "tags.trial='2'")
    assert [(model.model_id, str(model.status)) for model in found] == [(begun.model_id, "READY")]
    assert versions(client) == {"1": "0", "2": "2"}


def test_a_served_model_answers_as_the_command_does(
    measured: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tell(tmp_path, uri, measured, best=1)
    manifest = read_manifest(shards)
    pictures = [tmp_path / "one.jpg", tmp_path / "other.jpg"]
    for picture, index in zip(pictures, (0, 9), strict=True):
        picture.write_bytes(read_image(manifest, index))
    words = [str(measured), "--pair", *map(str, pictures), "--false-accept-rate", "0.1", "--json"]
    predict.main(words)
    pair = json.loads(capsys.readouterr().out)["pair"]
    predict.main([str(measured), str(pictures[0]), "--json"])
    (alone,) = json.loads(capsys.readouterr().out)["pictures"]
    one, other = (base64.b64encode(picture.read_bytes()).decode() for picture in pictures)
    with served(uri, "models:/s@best", tmp_path / "served.log") as address:
        (found,) = ask(address, [{"image": one, "other": other}])
        assert found["distance"] == pytest.approx(pair["distance"], abs=1e-6)
        assert found["same_work"] == pair["same_work"]
        assert found["classes"] == [entry["class"] for entry in alone["classes"]]
        assert found["probabilities"] == pytest.approx([entry["probability"] for entry in alone["classes"]], abs=1e-6)
        assert set(ask(address, [{"image": one}])[0]) == {"classes", "probabilities", "features"}
        bad = base64.b64encode(b"no picture").decode()
        rows = ask(
            address, [{"image": one, "other": other}, {"image": bad, "other": one}, {"image": one, "other": bad}]
        )
        assert rows[0]["error"] is None
        assert rows[0]["classes"] == found["classes"]
        assert rows[0]["features"] == pytest.approx(found["features"], abs=1e-6)
        for row, message in zip(
            rows[1:], ("picture 2 is not an image", "other: picture 3 is not an image"), strict=True
        ):
            assert row["error"].startswith(message)
            assert (row["classes"], row["features"], row["distance"], row["same_work"]) == ([], [], None, None)
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(address, [{"image": bad}])
        assert refused.value.code == 400
        assert "picture 1 is not an image" in refused.value.read().decode()


def test_a_server_gets_the_model_with_its_files(measured: Path, tmp_path: Path) -> None:
    server = MlflowServer(tmp_path)
    server.start()
    try:
        client = tell(tmp_path, server.uri, measured, best=1)
        assert versions(client) == {"1": "1", "2": "0"}
        source = client.get_model_version_by_alias("s", "best").source
        assert source.startswith("mlflow-artifacts:")
        assert len(list((tmp_path / "artifacts").rglob("verification.json"))) == 3  # two models, and the best run's
    finally:
        server.kill()


def test_a_server_on_postgresql_that_asks_for_a_password_gets_everything(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("flask_wtf", reason="mlflow[auth] is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "only-for-this-test")
    monkeypatch.setenv("MLFLOW_FLASK_SERVER_SECRET_KEY", "of the test")
    monkeypatch.setenv("MLFLOW_AUTH_CONFIG_PATH", str(tmp_path / "auth.ini"))
    with running_server() as postgres:
        (tmp_path / "auth.ini").write_text(
            f"[mlflow]\ndefault_permission = READ\ndatabase_uri = {postgres.new_database('auth')}\n"
            "admin_username = admin\nadmin_password = only-for-this-test\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        )
        server = MlflowServer(tmp_path, postgres.new_database("mlflow"), options=("--app-name", "basic-auth"))
        server.start()
        try:
            client = tell(tmp_path, server.uri, measured, best=1)
            assert versions(client) == {"1": "1", "2": "0"}
            assert postgres.sql("SELECT name FROM registered_models", "mlflow") == "s"
            monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
            with pytest.raises(Exception, match=r"401|authenticated"):
                MlflowClient(server.uri).search_experiments()
        finally:
            server.kill()


@contextmanager
def shown(runs: Path) -> Iterator[str]:
    """The MLflow UI on the store under `runs`; gives the address of its pages."""
    port = free_port()
    words = ["-m", "platform.ui", "--runs", str(runs), "--port", str(port)]
    with (runs / "ui.log").open("wb") as file:
        process = subprocess.Popen([sys.executable, *words], env=own_environment(), stdout=file, stderr=file)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"), 300, "the UI")
        yield f"http://127.0.0.1:{port}/#"
    finally:
        end_family(process)


def test_the_pages_nest_trials_compare_them_and_name_the_aliases(measured: Path, tmp_path: Path) -> None:
    client = tell(tmp_path, f"sqlite:///{tmp_path}/mlflow.db", measured, best=1)
    experiment = client.get_experiment_by_name("s").experiment_id
    runs = {run.info.run_name: run.info.run_id for run in client.search_runs([experiment])}
    chosen = quote(json.dumps([runs["trial 1"], runs["trial 2"]]))
    with opened_page() as page, shown(tmp_path) as address:
        from playwright.sync_api import expect

        page.set_default_timeout(90_000)
        expect.set_options(timeout=90_000)
        page.goto(f"{address}/experiments/{experiment}/runs")
        study = page.locator(".ag-row").filter(has=page.locator(f"a[href$='{runs['s']}']"))
        study.get_by_role("button").first.wait_for()
        expect(page.get_by_text("trial 1", exact=True)).to_have_count(0)  # below the run of the study
        study.get_by_role("button").first.click()
        expect(page.get_by_text("trial 1", exact=True)).to_be_visible()
        page.goto(f"{address}/compare-runs?runs={chosen}&experiments={quote(json.dumps([experiment]))}")
        expect(page.locator(".js-plotly-plot").first).to_be_visible()
        page.goto(f"{address}/models/s")
        for alias in ("best", "baseline"):
            expect(page.get_by_text(f"@ {alias}")).to_be_visible()
        page.goto(f"{address}/experiments/{experiment}/runs/{runs['trial 1']}/artifacts")
        expect(page.get_by_text("checkpoint", exact=True).first).to_be_visible()
