"""The command: its numbers are the trials', a study in its middle has a report, and nothing in the study changes."""

import contextlib
import csv
import io
import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage

from platform.read_only_study import open_read_only, read_study, searches
from platform.report import main
from shards_tools.errors import Error
from shards_tools.manifest_file import read_manifest
from tests.imports import assert_imports_none_of
from tests.platform.postgres import running_server
from tests.platform.stored_by_hand import TRIALS, content_of, database, study_by_hand
from trainables.evaluation.evaluation import Evaluation


def report(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    """What the command prints with --json."""
    main([*map(str, words), "--json"])
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_nothing_in_the_study_changes(written: dict[str, Any]) -> None:
    assert content_of(written["folder"]) == written["before"]


def test_the_main_numbers_are_the_trials(written: dict[str, Any]) -> None:
    found = written["json"]
    assert (found["best"]["trial"], found["best"]["value"]) == (3, 0.40)
    assert (found["paper_row"]["trial"], found["paper_row"]["value"]) == (0, 0.25)
    assert found["difference"] == pytest.approx(0.15)
    assert found["trials"] == {"complete": 7, "pruned": 2, "failed": 1, "running": 1}
    chance = Evaluation(read_manifest(written["shards"]), "val", 0).chance()["mAP"]
    assert found["chance"] == chance
    text = (written["out"] / "index.html").read_text()
    for value in ("40.00", "25.00", "+15.00", f"{100 * chance:.2f}"):
        assert value in text


def test_what_is_not_about_a_model_is_gathered_without_torch() -> None:
    assert_imports_none_of("platform.reporting.gather", {"torch", "timm"})


def test_weights_that_are_gone_are_said_and_the_rest_is_there(written: dict[str, Any]) -> None:
    (reason,) = written["json"]["missing"]
    assert reason.startswith("Figures of trial 3 on the validation split are missing: /nowhere/")
    assert "Figures of trial 3" in (written["out"] / "index.html").read_text()


def test_everything_named_is_there(written: dict[str, Any]) -> None:
    found, out = written["json"], written["out"]
    for key in ("page", "report", "trials_csv", "explore"):
        assert Path(found[key]).stat().st_size > 0
    for name in found["figures"]:
        for ending in ("pdf", "png", "csv"):
            assert (out / "figures" / f"{name}.{ending}").stat().st_size > 0
    linked = re.findall(r'href="([^#"]+)"', (out / "index.html").read_text())
    assert linked
    assert all((out / link).is_file() for link in linked)


def test_the_table_of_trials_comes_back_as_it_was(written: dict[str, Any]) -> None:
    rows = list(csv.DictReader(io.StringIO((written["out"] / "trials.csv").read_text())))
    assert [int(row["number"]) for row in rows] == list(range(len(TRIALS) + 2))
    for row, (optimizer, lr, drop_path, values, state) in zip(rows, TRIALS, strict=False):
        assert row["state"] == state.name.lower()
        assert float(row[f"params.{optimizer}_lr"]) == lr
        assert row["params." + ("adamw_lr" if optimizer == "sgd" else "sgd_lr")] == ""
        assert float(row["params.drop_path"]) == drop_path
        assert int(row["epochs"]) == len(values)
        assert row["metrics.mAP"] == (str(values[-1]) if values else "")
    assert rows[-2]["params.choice"] == "<img src=x onerror=alert(1)>"


def test_the_list_leaves_out_what_belongs_to_a_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = database(tmp_path)
    study_by_hand("one", url)
    study_by_hand("two", url, trials=())
    optuna.create_study(study_name="one-folds", storage=url)
    main(["--list", "--json", "--runs", str(tmp_path)])
    printed = capsys.readouterr()
    assert [line.split()[0] for line in printed.err.splitlines()] == ["one", "two"]
    found = json.loads(printed.out)["studies"]
    assert [(entry["study"], entry["best"]) for entry in found] == [("one", 0.40), ("two", None)]


def test_an_unknown_study_is_named_with_the_nearest(tmp_path: Path) -> None:
    study_by_hand("avatars", database(tmp_path))
    with pytest.raises(Error, match=r"'avatar' is not a known study. Did you mean 'avatars'\? Known: avatars\."):
        main(["avatar", "--runs", str(tmp_path), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_a_database_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(Error, match=r"optuna\.db does not exist"):
        main(["--list", "--runs", str(tmp_path)])
    (tmp_path / "optuna.db").write_text("no database at all, but a text that is long enough to be taken for one" * 20)
    with pytest.raises(Error, match="cannot be read: "):
        main(["--list", "--runs", str(tmp_path)])
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE other (number INTEGER)")
    with pytest.raises(Error, match="has tables of another program, such as other"):
        main(["--list", "--storage", f"sqlite:///{tmp_path / 'other.db'}"])


def test_what_is_opened_to_be_read_takes_nothing(tmp_path: Path) -> None:
    study_by_hand("one", database(tmp_path))
    before = content_of(tmp_path)
    stored = read_study(open_read_only(database(tmp_path)), database(tmp_path), "one")
    with pytest.raises(StorageInternalError):
        stored.study.set_user_attr("folds", 2)
    assert content_of(tmp_path) == before


def test_a_database_is_read_that_a_killed_search_was_just_writing(tmp_path: Path) -> None:
    study_by_hand("one", database(tmp_path))
    before = content_of(tmp_path)
    write = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA cache_size = 1');"
        "c.execute('BEGIN'); insert = 'INSERT INTO studies (study_name) VALUES (?)';"
        "[c.execute(insert, (str(number) * 99,)) for number in range(2000)]; os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", write, tmp_path / "optuna.db"])
    assert (tmp_path / "optuna.db-journal").stat().st_size > 0
    found = searches(open_read_only(database(tmp_path)), database(tmp_path))
    assert [study.study_name for study in found] == ["one"]
    assert content_of(tmp_path) == before


@pytest.mark.slow
def test_a_postgresql_is_read_and_never_written() -> None:
    with running_server() as server:
        server.start()
        url, empty = server.new_database("studies"), server.new_database("empty")
        written, read = RDBStorage(url), open_read_only(url)
        study_by_hand("one", written)
        assert [study.study_name for study in searches(read, url)] == ["one"]
        with pytest.raises(StorageInternalError):
            read_study(read, url, "one").study.set_user_attr("folds", 2)
        command = [sys.executable, "-m", "platform.report", "--list", "--storage", empty]
        refused = subprocess.run(command, capture_output=True, text=True)
        assert refused.returncode == 2
        assert "has no study yet" in refused.stderr
        looked_at = sqlalchemy.create_engine(empty)
        assert sqlalchemy.inspect(looked_at).get_table_names() == []
        for engine in (written.engine, read.engine, looked_at):
            engine.dispose()


def test_a_folder_with_something_in_it_is_left_as_it_is(tmp_path: Path) -> None:
    study_by_hand("one", database(tmp_path), trials=TRIALS[:1])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(Error, match="is not empty"):
        main(["one", "--runs", str(tmp_path), "--out", str(tmp_path / "out")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["optuna.db", "out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_folder_that_exists_is_refused_before_the_study_is_read(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(Error, match="out exists and is not empty"):
        main(["one", "--runs", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")])


def test_a_store_of_mlflow_that_does_not_exist_is_not_made(tmp_path: Path) -> None:
    study_by_hand("one", database(tmp_path), trials=TRIALS[:1])
    words = ["one", "--runs", str(tmp_path), "--out", str(tmp_path / "out")]
    with pytest.raises(Error, match=r"--tracking sqlite:///.*m\.db: .* does not exist"):
        main([*words, "--tracking", f"sqlite:///{tmp_path}/m.db"])
    with pytest.raises(Error, match="'mlruns' is not an MLflow store"):
        main([*words, "--tracking", "mlruns"])
    assert [path.name for path in tmp_path.iterdir()] == ["optuna.db"]


@pytest.mark.parametrize(
    ("trials", "says"),
    [
        ((), "No trial has started yet."),
        (TRIALS[7:8], "No trial is complete yet. Started: 1 (1 failed)."),
        pytest.param(
            TRIALS[6:],
            "No trial is complete yet. Started: 3 (1 pruned, 1 failed, 1 running).",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_study_in_its_middle_has_a_report(trials, says, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study_by_hand("one", database(tmp_path), trials=trials)
    found = report(capsys, "one", "--runs", tmp_path, "--out", tmp_path / "out")
    assert found["best"] is None
    assert found["chance"] is None
    assert "--data SHARDS" in found["missing"][0]
    assert says in (tmp_path / "out" / "index.html").read_text()


@pytest.mark.slow
def test_mlflow_keeps_the_report_and_takes_it_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mlflow import MlflowClient

    study_by_hand("one", database(tmp_path))
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.create_experiment("one", artifact_location=(tmp_path / "artifacts").as_uri())
    parent = client.create_run(experiment).info.run_id
    client.create_run(experiment, tags={"mlflow.parentRunId": parent, "trial": "0"})
    for number in range(2):
        found = report(capsys, "one", "--runs", tmp_path, "--out", tmp_path / f"out-{number}")
        assert found["mlflow_run_id"] == parent
    kept = {entry.path for entry in client.list_artifacts(parent, "report")}
    assert kept == {
        "report/index.html",
        "report/report.md",
        "report/trials.csv",
        "report/explore.html",
        "report/figures",
    }


@pytest.mark.slow
def test_a_store_that_is_away_is_said_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study_by_hand("one", database(tmp_path), trials=TRIALS[:2])
    words = ["one", "--runs", tmp_path, "--out", tmp_path / "out", "--tracking", "http://127.0.0.1:9"]
    main([*map(str, words), "--json"])
    printed = capsys.readouterr()
    assert json.loads(printed.out)["mlflow_run_id"] is None
    assert [line for line in printed.err.splitlines() if "not logged to MLflow at http://127.0.0.1:9" in line]
