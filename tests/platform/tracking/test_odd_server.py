"""An MLflow server that answers with errors, garbage or too late delays nothing and gets everything once it is sane."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from platform.tracking.journal import Journal
from platform.tracking.tracker import Tracker
from tests.platform.driver import wait_until
from tests.platform.mlflow_server import MlflowServer
from tests.platform.odd_server import ANSWERS, OddServer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


def tracker_of(journal: Journal, uri: str, study: str) -> Tracker:
    tracker = Tracker(journal, uri=uri, artifacts=journal.path.parent, study=study, params={"space": "t"}, tags={})
    tracker.start()
    return tracker


def told(uri: str, study: str) -> list[tuple[str, str, list[tuple[int, float]]]]:
    """Trial, state and points of each run of a trial, and one entry for each parent run."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(study)
    assert experiment is not None
    return sorted(
        (
            run.data.tags.get("trial", "parent"),
            run.data.tags.get("state", ""),
            [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "mAP")],
        )
        for run in client.search_runs([experiment.experiment_id])
    )


@pytest.mark.parametrize("executes", [True, False], ids=["done", "not done"])
@pytest.mark.parametrize("how", [*ANSWERS, "late"])
def test_events_wait_for_a_sane_server_and_arrive_once(
    how: str,
    executes: bool,
    server: MlflowServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    study, odd = uuid.uuid4().hex, OddServer(server.uri, executes=executes)
    with Journal(tmp_path / "study" / "journal.jsonl") as journal, odd.running():
        tracker = tracker_of(journal, odd.uri, study)
        assert tracker.ready.wait(60)
        journal.append("trial", trial=0, name="row", params={"lr": 0.1}, tags={}, time=100.0)
        journal.append("metrics", trial=0, step=1, time=101.0, values={"mAP": 0.1})
        wait_until(lambda: not tracker.unsent, 60, "the first events")
        odd.how = how
        journal.append("trial", trial=1, name="other", params={"lr": 0.2}, tags={}, time=101.5)
        journal.append("metrics", trial=0, step=2, time=102.0, values={"mAP": 0.2})
        wait_until(lambda: bool(tracker.trouble), 120, "an error")
        journal.append("end", trial=0, state="COMPLETE", reason="", time=103.0)
        tracker.close(10)
        assert tracker.unsent
        assert tracker.status == "failed"
        lines = capsys.readouterr().err.splitlines()
        assert len([line for line in lines if "Training continues; events are queued on disk." in line]) == 1, lines
        assert len(lines) <= 2
        odd.how = ""
        later = tracker_of(journal, odd.uri, study)
        later.close(60)
        assert later.status == "ok"
    assert told(server.uri, study) == [
        ("0", "COMPLETE", [(1, 0.1), (2, 0.2)]),
        ("1", "RUNNING", []),
        ("parent", "", []),
    ]


@pytest.mark.parametrize("how", ANSWERS)
def test_a_server_that_is_odd_from_the_start_is_not_believed(how: str, server: MlflowServer, tmp_path: Path) -> None:
    study, odd = uuid.uuid4().hex, OddServer(server.uri, executes=False)
    odd.how = how
    with Journal(tmp_path / "study" / "journal.jsonl") as journal, odd.running():
        journal.append("trial", trial=0, name="row", params={"lr": 0.1}, tags={}, time=100.0)
        tracker = tracker_of(journal, odd.uri, study)
        wait_until(lambda: bool(tracker.trouble) or not tracker.unsent, 120, "an answer")
        tracker.close(10)
        assert tracker.status == "failed"
        odd.how = ""
        later = tracker_of(journal, odd.uri, study)
        later.close(60)
        assert later.status == "ok"
    assert told(server.uri, study) == [("0", "RUNNING", []), ("parent", "", [])]
