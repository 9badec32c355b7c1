"""MLflow gets the journal: once, whole, late where it was away, and again where the store is another one."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from platform.tracking import tracker as tracker_module
from platform.tracking.journal import Journal
from platform.tracking.tracker import Tracker
from tests.platform.driver import mlflow_runs, wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "study" / "journal.jsonl") as journal:
        journal.append("trial", trial=0, name="row", params={"lr": 0.1}, tags={"baseline": "row"}, time=100.0)
        for step in (1, 2):
            journal.append("metrics", trial=0, step=step, time=100.0 + step, values={"mAP": 0.1 * step, "loss": 2.0})
        journal.append("end", trial=0, state="COMPLETE", reason="", time=103.0)
        yield journal


def started(journal: Journal, uri: str) -> Tracker:
    tracker = Tracker(
        journal, uri=uri, artifacts=journal.path.parent / "artifacts", study="s", params={"space": "t"}, tags={}
    )
    tracker.start()
    return tracker


def send(journal: Journal, uri: str, timeout_s: float = 60.0) -> Tracker:
    tracker = started(journal, uri)
    tracker.close(timeout_s)
    return tracker


def up_to_date(journal: Journal, uri: str) -> Tracker:
    """A tracker that runs, and whose store has everything."""
    tracker = started(journal, uri)
    wait_until(lambda: tracker.status == "ok", 60, "a store that has everything")
    return tracker


def points(database: Path, run: Any) -> list[tuple[int, float, int]]:
    history = MlflowClient(f"sqlite:///{database}").get_metric_history(run.info.run_id, "mAP")
    return [(point.step, point.value, point.timestamp) for point in history]


def test_a_trial_becomes_a_child_run_with_its_own_times(journal: Journal, tmp_path: Path) -> None:
    tracker = send(journal, f"sqlite:///{tmp_path}/mlflow.db")
    assert tracker.unsent == 0
    child, parent = sorted(mlflow_runs(tmp_path / "mlflow.db"), key=lambda run: "trial" not in run.data.tags)
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert (child.data.tags["state"], child.info.status, child.data.params["lr"]) == ("COMPLETE", "FINISHED", "0.1")
    assert (child.info.start_time, child.info.end_time) == (100_000, 103_000)
    assert points(tmp_path / "mlflow.db", child) == [(1, 0.1, 101_000), (2, 0.2, 102_000)]
    assert tracker.run_id(0) == child.info.run_id


def test_damaged_lines_at_the_end_of_a_journal_count_as_sent(journal: Journal, tmp_path: Path) -> None:
    with open(journal.path, "ab") as file:
        file.write(b"\x00\x00\n")
    assert send(journal, f"sqlite:///{tmp_path}/mlflow.db").status == "ok"


def test_what_came_together_is_told_in_one_call(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: Counter[str] = Counter()

    def counted(name: str) -> Callable[..., Any]:
        own = getattr(MlflowClient, name)

        def call(*given: Any, **named: Any) -> Any:
            called[name] += 1
            return own(*given, **named)

        return call

    for name in ("create_run", "log_batch", "log_metric", "set_tag", "update_run", "set_terminated"):
        monkeypatch.setattr(MlflowClient, name, counted(name))
    send(journal, f"sqlite:///{tmp_path}/mlflow.db")
    assert called == {"create_run": 2, "log_batch": 2, "set_terminated": 1}  # the parent's, and all of the trial


def test_what_was_sent_is_not_sent_again_and_sending_it_again_changes_nothing(journal: Journal, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    send(journal, uri)
    journal.path.with_suffix(".sent.json").unlink()  # as after a kill between the store and this file
    tracker = send(journal, uri)
    runs = mlflow_runs(tmp_path / "mlflow.db")
    assert len(runs) == 2
    child = next(run for run in runs if run.info.run_id == tracker.run_id(0))
    assert len(points(tmp_path / "mlflow.db", child)) == 2


def test_another_store_gets_the_whole_study(journal: Journal, tmp_path: Path) -> None:
    send(journal, f"sqlite:///{tmp_path}/first.db")
    send(journal, f"sqlite:///{tmp_path}/second.db")
    for name in ("first.db", "second.db"):
        assert sorted(run.data.tags.get("state", "parent") for run in mlflow_runs(tmp_path / name)) == [
            "COMPLETE",
            "parent",
        ]


def test_a_trial_that_was_begun_again_before_its_store_heard_of_it_is_told(journal: Journal, tmp_path: Path) -> None:
    for number in range(2):
        journal.append("trial", trial=1, name="two", params={"lr": 0.2}, tags={}, time=104.0 + number)
    journal.append("end", trial=1, state="PRUNED", reason="", time=107.0)
    assert send(journal, f"sqlite:///{tmp_path}/mlflow.db").unsent == 0
    (run,) = (run for run in mlflow_runs(tmp_path / "mlflow.db") if run.data.tags.get("trial") == "1")
    assert (run.data.params, run.data.tags["state"]) == ({"lr": "0.2"}, "PRUNED")


def test_a_store_that_stumbles_while_a_search_ends_is_asked_often(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one behind which a database was restarted: each of its lost connections costs a call."""
    lost = iter(range(8))
    connect = Tracker._connect

    def stumble(tracker: Tracker) -> MlflowClient:
        client = connect(tracker)
        if next(lost, None) is not None:
            raise ConnectionError("lost")
        return client

    monkeypatch.setattr(Tracker, "_connect", stumble)
    monkeypatch.setattr(tracker_module, "LONGEST_PAUSE_AT_THE_END_S", 0.1)
    # The pauses of a search under way would add up to 100 s.
    assert send(journal, f"sqlite:///{tmp_path}/mlflow.db", timeout_s=60.0).unsent == 0


def test_a_store_that_is_away_gets_everything_later(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    away = send(journal, "http://127.0.0.1:9", timeout_s=3.0)
    assert (away.unsent, away.status) == (journal.size(), "failed")
    assert away.run_id(0) is None
    back = send(journal, f"sqlite:///{tmp_path}/mlflow.db")
    assert (back.unsent, back.status) == (0, "ok")


def test_a_store_that_has_lost_the_study_gets_everything_again(journal: Journal, tmp_path: Path) -> None:
    """An empty database at the address that has received everything according to the file next to the journal."""
    database = tmp_path / "empty.db"
    send(journal, f"sqlite:///{tmp_path}/mlflow.db")
    sent = journal.path.with_suffix(".sent.json")
    sent.write_text(sent.read_text().replace("mlflow.db", "empty.db"))
    journal.append("tag", trial=0, key="reading", value="decoded", time=104.0)
    assert send(journal, f"sqlite:///{database}").status == "ok"
    (child,) = (run for run in mlflow_runs(database) if "trial" in run.data.tags)
    assert (child.data.tags["state"], child.data.tags["reading"]) == ("COMPLETE", "decoded")
    assert len(points(database, child)) == 2


def test_an_outage_is_reported_once_when_it_begins_and_once_when_it_ends(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = iter(range(2))
    own = Tracker._send

    def fail(tracker: Tracker, client: MlflowClient) -> bool:
        if next(lost, None) is not None:
            raise ConnectionError("lost")
        return own(tracker, client)

    monkeypatch.setattr(Tracker, "_send", fail)
    monkeypatch.setattr(tracker_module, "LONGEST_PAUSE_S", 0.1)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tracker = up_to_date(journal, uri)
    tracker.close(10.0)
    assert capsys.readouterr().err.splitlines() == [
        f"MLflow's store {uri} does not answer (ConnectionError: lost). Training continues; events are queued on disk.",
        f"MLflow's store {uri} answers again. It gets the queued events.",
    ]


def test_a_store_that_is_slow_is_behind(journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer, connect = threading.Event(), Tracker._connect

    def slow(tracker: Tracker) -> MlflowClient:
        client = connect(tracker)
        answer.wait(60)
        return client

    monkeypatch.setattr(Tracker, "_connect", slow)
    tracker = send(journal, f"sqlite:///{tmp_path}/mlflow.db", timeout_s=0.1)
    assert tracker.status == "behind"
    answer.set()
    tracker.join(60)
    assert tracker.status == "ok"


@pytest.mark.parametrize(("fails", "status"), [(False, "ok"), (True, "failed")])
def test_an_upload_that_takes_longer_than_the_wait_at_the_end_is_waited_for_unless_it_fails(
    journal: Journal,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fails: bool,
    status: str,
) -> None:
    own = Tracker._send_study

    def slow(tracker: Tracker, client: MlflowClient, event: Any) -> None:
        time.sleep(2)
        if fails:
            raise ConnectionError("lost")
        own(tracker, client, event)

    monkeypatch.setattr(Tracker, "_send_study", slow)
    monkeypatch.setattr(tracker_module, "SILENT_S", 0.1)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tracker = up_to_date(journal, uri)
    journal.append("study", trial=None, checkpoint=None, metrics={}, tags={"complete": 1}, time=104.0)
    wait_until(tracker._uploading.is_set, 60, "the upload")
    tracker.close(0.2)
    assert tracker.status == status
    assert capsys.readouterr().err.splitlines() == [
        f"MLflow's store {uri} gets the last events, for 0 s at most.",
        "The upload of checkpoints and models goes on, for 10 minutes at most.",
    ]
