"""A journal that MLflow gets at once, in parts, or with failures between gives what it gives event by event."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from platform.tracking import tracker as tracker_module
from platform.tracking.descriptions import NOTE
from platform.tracking.journal import Journal
from platform.tracking.tracker import FIRST_READ_BYTES, MAX_READ_BYTES, Tracker, next_read_bytes

pytestmark = pytest.mark.integration

OWN = ("mlflow.parentRunId", "mlflow.user", "mlflow.source.type", "mlflow.source.name")  # differ between two stores


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with MLflow's tables, which take seconds to make."""
    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journal]:
    """Two trials side by side, one of which is restarted, more metrics than a call takes, and a third that runs."""
    with Journal(tmp_path_factory.mktemp("study") / "journal.jsonl") as journal:
        for trial in (0, 1):
            begin(journal, trial, time=100.0 + trial)
        for step in range(1, 111):
            for trial in (0, 1):
                values = {f"metric_{number}": step + 0.5 * number + trial for number in range(10)}
                journal.append("metrics", trial=trial, step=step, time=200.0 + step, values=values)
            if step == 2:
                journal.append("tag", trial=0, key="reading", value="decoded", time=203.0)
                begin(journal, 1, time=204.0)
        journal.append("end", trial=1, state="PRUNED", reason="pruned at epoch 110", time=400.0)
        journal.append("study", trial=0, checkpoint=None, tags={"complete": 0}, metrics={"best": 0.5}, time=401.0)
        begin(journal, 2, time=402.0)
        journal.append("end", trial=0, state="COMPLETE", reason="", time=403.0)
        yield journal


def begin(journal: Journal, trial: int, time: float) -> None:
    params = {"lr": 0.1 * trial, **{f"setting_{number}": number for number in range(120)}}
    journal.append("trial", trial=trial, name=f"row {trial}", params=params, tags={NOTE: f"Row {trial}"}, time=time)


def sent(journal: Journal, store: Path, tables: Path) -> list[dict[str, Any]]:
    """What a new store has of each run after the journal was sent to it."""
    shutil.copy(tables, store)
    tracker = Tracker(
        journal, uri=f"sqlite:///{store}", artifacts=store.parent / "artifacts", study="s", params={"a": 1}, tags={}
    )
    tracker.start()
    tracker.close(120.0)
    assert tracker.status == "ok", tracker.trouble
    return content(store)


def content(store: Path) -> list[dict[str, Any]]:
    client = MlflowClient(f"sqlite:///{store}")
    experiment = client.get_experiment_by_name("s")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    found = [
        {
            "times": (run.info.start_time, run.info.end_time) if "trial" in run.data.tags else run.info.end_time,
            "status": run.info.status,
            "tags": {key: value for key, value in run.data.tags.items() if key not in OWN},
            "params": run.data.params,
            "metrics": {key: sorted(points(client, run.info.run_id, key)) for key in run.data.metrics},
        }
        for run in runs
    ]
    return sorted(found, key=lambda run: str(run["tags"].get("trial", "")))


def points(client: MlflowClient, run_id: str, key: str) -> list[tuple[int, float, int]]:
    return [(point.step, point.value, point.timestamp) for point in client.get_metric_history(run_id, key)]


@pytest.fixture(scope="module")
def expected(journal: Journal, tables: Path) -> list[dict[str, Any]]:
    """The content after a tracker that reads one line at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracker_module, "FIRST_READ_BYTES", 1)
        patch.setattr(tracker_module, "MAX_READ_BYTES", 1)
        return sent(journal, tables.with_name("expected.db"), tables)


@pytest.mark.parametrize("first_read", [3000, FIRST_READ_BYTES], ids=["in parts", "at once"])
def test_a_journal_read_in_large_parts_gives_what_it_gives_event_by_event(
    first_read: int,
    journal: Journal,
    expected: list[dict[str, Any]],
    tables: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracker_module, "FIRST_READ_BYTES", first_read)
    found = sent(journal, tmp_path / "found.db", tables)
    assert found == expected
    assert [run["status"] for run in found] == ["FINISHED", "FINISHED", "KILLED", "RUNNING"]
    assert found[2]["tags"][NOTE] == "Row 1\n\nEnded pruned at epoch 110."
    assert [len(found[1]["params"]), len(found[1]["metrics"]["metric_9"])] == [121, 110]


@pytest.mark.parametrize("executes", [True, False], ids=["done", "not done"])
@pytest.mark.parametrize("name", ["create_run", "log_batch", "set_terminated"])
def test_a_call_that_fails_while_catching_up_loses_and_doubles_nothing(
    name: str,
    executes: bool,
    journal: Journal,
    expected: list[dict[str, Any]],
    tables: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, calls = getattr(MlflowClient, name), iter(range(10**6))

    def call(*given: Any, **named: Any) -> Any:
        fails = next(calls) in (1, 3)  # the first calls for trials
        answer = own(*given, **named) if executes or not fails else None
        if fails:
            raise ConnectionError("lost")
        return answer

    monkeypatch.setattr(MlflowClient, name, call)
    monkeypatch.setattr(tracker_module, "LONGEST_PAUSE_AT_THE_END_S", 0.1)
    assert sent(journal, tmp_path / "found.db", tables) == expected


def test_a_trial_that_came_whole_takes_three_calls(
    tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[tuple[str, Any]] = []

    def counted(name: str) -> Callable[..., Any]:
        own = getattr(MlflowClient, name)

        def call(client: MlflowClient, *given: Any, **named: Any) -> Any:
            called.append((name, named.get("tags")))
            return own(client, *given, **named)

        return call

    for name in ("create_run", "get_run", "log_batch", "set_tag", "update_run", "set_terminated"):
        monkeypatch.setattr(MlflowClient, name, counted(name))
    with Journal(tmp_path / "study" / "journal.jsonl") as journal:
        for trial in range(10):
            begin(journal, trial, time=500.0)
            journal.append("metrics", trial=trial, step=1, time=501.0, values={"mAP": 0.5})
            journal.append("end", trial=trial, state="COMPLETE", reason="", time=502.0)
        sent(journal, tmp_path / "found.db", tables)
    whole = [(name, bool(tags)) for name, tags in called[-30:]]
    assert whole == [("create_run", True), ("log_batch", False), ("set_terminated", False)] * 10


def test_a_quick_send_doubles_the_next_read_and_a_slow_one_halves_it() -> None:
    size, sizes = FIRST_READ_BYTES, []
    for seconds in (0.1, 0.1, 5.0, 20.0, 20.0, 20.0, *[0.1] * 9):
        size = next_read_bytes(size, seconds)
        sizes.append(size // FIRST_READ_BYTES)
    assert sizes == [2, 4, 4, 2, 1, 1, 2, 4, 8, 16, 16, 16, 16, 16, 16]
    assert size == MAX_READ_BYTES
