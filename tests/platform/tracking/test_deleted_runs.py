"""Runs and experiments that the user deletes in MLflow, and stores that lose some, cost a study nothing else."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from platform.tracking.journal import Journal
from platform.tracking.study_runs import STUDY_TAG
from platform.tracking.tracker import Tracker
from tests.platform.driver import mlflow_runs

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with MLflow's tables, which take seconds to make."""
    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def database(empty_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(empty_store, tmp_path / "mlflow.db"))


@pytest.fixture
def client(database: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{database}")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "study" / "journal.jsonl") as journal:
        for trial in (0, 1):
            begin(journal, trial)
        yield journal


def begin(journal: Journal, trial: int) -> None:
    journal.append("trial", trial=trial, name=f"trial {trial}", params={"lr": 0.1}, tags={}, time=100.0)
    journal.append("metrics", trial=trial, step=1, time=101.0, values={"mAP": 0.1})


def end(journal: Journal, trial: int) -> None:
    journal.append("end", trial=trial, state="COMPLETE", reason="", time=103.0)


def finish(journal: Journal, best: int) -> None:
    journal.append("study", trial=best, checkpoint=None, tags={"complete": 2}, metrics={"best_mAP": 0.1}, time=104.0)


def sent(journal: Journal, database: Path, **tags: str) -> Tracker:
    tracker = started(journal, database, **tags)
    tracker.close(60.0)
    return tracker


def started(journal: Journal, database: Path, **tags: str) -> Tracker:
    tracker = Tracker(
        journal, uri=f"sqlite:///{database}", artifacts=database.parent, study="s", params={"space": "t"}, tags=tags
    )
    tracker.start()
    return tracker


def states(database: Path) -> dict[str, Any]:
    """Trial number, or `study` -> the status of its active run."""
    return {run.data.tags.get("trial", "study"): run.info.status for run in mlflow_runs(database)}


def test_a_deleted_trial_is_left_out_with_one_line_and_all_others_are_sent(
    journal: Journal, database: Path, client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    first = sent(journal, database)
    client.delete_run(first.run_id(0))
    for trial in (0, 1):
        end(journal, trial)
    begin(journal, 2)
    finish(journal, best=0)
    assert sent(journal, database).status == "ok"
    assert states(database) == {"1": "FINISHED", "2": "RUNNING", "study": "FINISHED"}
    assert capsys.readouterr().err.splitlines() == [
        "In MLflow, the run of trial 0 was deleted. Deleted runs of this study get no events; all others do."
    ]


def test_a_run_that_is_deleted_while_the_search_runs_does_not_stop_the_others(
    journal: Journal, database: Path, client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = started(journal, database)
    assert tracker.ready.wait(60)
    while tracker.unsent:
        assert not tracker.trouble
    client.delete_run(tracker.run_id(1))
    for trial in (1, 0):
        end(journal, trial)
    tracker.close(60.0)
    assert tracker.status == "ok"
    assert states(database) == {"0": "FINISHED", "study": "RUNNING"}
    assert capsys.readouterr().err.count("\n") == 1


def test_a_deleted_parent_is_not_replaced(journal: Journal, database: Path, client: MlflowClient) -> None:
    parent = client.get_run(sent(journal, database).run_id(0)).data.tags["mlflow.parentRunId"]
    client.delete_run(parent)
    end(journal, 0)
    finish(journal, best=0)
    assert sent(journal, database).status == "ok"
    assert states(database) == {"0": "FINISHED", "1": "RUNNING"}


def test_a_deleted_experiment_is_reported_and_gets_everything_once_it_is_restored(
    journal: Journal, database: Path, client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    sent(journal, database)
    experiment = client.get_experiment_by_name("s").experiment_id
    client.delete_experiment(experiment)
    end(journal, 0)
    tracker = started(journal, database)
    while not tracker.told:
        assert tracker.is_alive()
    tracker.close(0.1)
    assert tracker.status == "failed"
    assert capsys.readouterr().err.splitlines() == [
        f"The experiment s was deleted in MLflow. Restore it there (its ID is {experiment})."
        " Training continues; events are queued on disk."
    ]
    client.restore_experiment(experiment)
    assert sent(journal, database).status == "ok"
    assert states(database) == {"0": "FINISHED", "1": "RUNNING", "study": "RUNNING"}


def test_a_store_that_was_restored_from_a_backup_gets_what_it_lacks(
    journal: Journal, database: Path, tmp_path: Path
) -> None:
    sent(journal, database)
    backup = Path(shutil.copy(database, tmp_path / "backup.db"))
    begin(journal, 2)
    end(journal, 2)
    sent(journal, database)
    for file in tmp_path.glob("mlflow.db*"):
        file.unlink()
    shutil.copy(backup, database)
    assert sent(journal, database).status == "ok"
    assert states(database) == {"0": "RUNNING", "1": "RUNNING", "2": "FINISHED", "study": "RUNNING"}


@pytest.mark.parametrize("content", [b"", b"garbage", b"[]", b'{"uri": 1}', b'{"uri": "URI", "offset": 33}'])
def test_a_damaged_file_of_the_offset_lets_everything_be_sent_again(
    journal: Journal, database: Path, content: bytes
) -> None:
    uri = f"sqlite:///{database}"
    journal.path.with_suffix(".sent.json").write_bytes(content.replace(b"URI", uri.encode()))
    assert sent(journal, database).status == "ok"
    assert len(states(database)) == 3


def test_an_experiment_of_an_earlier_study_of_the_same_name_is_not_mixed(
    journal: Journal, database: Path, tmp_path: Path
) -> None:
    sent(journal, database, **{STUDY_TAG: "first"})
    with Journal(tmp_path / "other" / "journal.jsonl") as other:
        begin(other, 0)
        tracker = started(other, database, **{STUDY_TAG: "second"})
        while not tracker.trouble:
            assert tracker.is_alive()
        tracker.close(0.1)
    assert tracker.status == "failed"
    assert tracker.trouble.startswith("MLflow's experiment s belongs to an earlier study of this name. Rename it")
