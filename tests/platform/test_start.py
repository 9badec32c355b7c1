"""The steps of a start: whose journal it writes, and how long it waits for MLflow."""

import threading
import time
from types import SimpleNamespace
from typing import Any

import optuna
import pytest

from platform import start
from platform.resolved_search import ResolvedSearch
from platform.start import opened_study
from platform.study import open_storage
from shards_tools.errors import Error
from tests.platform.searches import changed


def begin_trial(search: ResolvedSearch) -> str:
    """Open the study, write one event to its journal, and return the journal's owner."""
    with opened_study(search) as (_, _, journal):
        journal.append("trial", trial=0, name="row", params={}, tags={}, time=1.0)
        return journal.owner


def delete_study(search: ResolvedSearch) -> None:
    optuna.delete_study(study_name=search.stores.study, storage=search.stores.storage)


def test_a_journal_keeps_its_study(search: ResolvedSearch) -> None:
    owner = begin_trial(search)
    assert len(owner) == 32
    assert begin_trial(search) == owner


def test_the_journal_of_a_deleted_study_is_refused_and_nothing_is_created(search: ResolvedSearch) -> None:
    begin_trial(search)
    delete_study(search)
    for _ in range(2):
        with pytest.raises(
            Error, match=r"belongs to an earlier study .*: python -m platform\.studies delete"
        ) as refused:
            begin_trial(search)
        assert optuna.get_all_study_names(search.stores.storage) == []
    assert len(str(refused.value)) < 400


def test_the_journal_of_another_study_of_the_same_name_is_refused(search: ResolvedSearch) -> None:
    begin_trial(search)
    delete_study(search)
    study = optuna.create_study(study_name=search.stores.study, storage=search.stores.storage)
    study.set_user_attr("study_id", "another")
    with pytest.raises(Error, match="belongs to an earlier study"):
        begin_trial(search)


def test_a_study_whose_folder_was_lost_gets_a_new_journal(search: ResolvedSearch) -> None:
    owner = begin_trial(search)
    for file in search.stores.folder.glob("journal*"):
        file.unlink()
    assert begin_trial(search) == owner


def test_a_study_and_a_journal_of_an_earlier_version_belong_together(search: ResolvedSearch) -> None:
    begin_trial(search)
    search.stores.folder.joinpath("journal.study").unlink()
    study = optuna.load_study(study_name=search.stores.study, storage=open_storage(search.stores.storage))
    study.set_user_attr("study_id", "")
    assert begin_trial(search)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "SILENT_S", 0.3)
    monkeypatch.setattr(start, "LONGEST_WAIT_FOR_MLFLOW_S", 0.8)


def waited(uri: str, trouble: str = "", after_s: float = 9.0) -> float:
    """How long a start waits for a store that answers after this time."""
    tracker: Any = SimpleNamespace(ready=threading.Event(), trouble=trouble)
    answer = threading.Timer(after_s, tracker.ready.set)
    answer.start()
    begun = time.monotonic()
    start._wait_for_mlflow(tracker, uri)
    answer.cancel()
    return time.monotonic() - begun


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    ("uri", "named", "said"),
    [
        ("http://host:1", {"trouble": "refused"}, []),
        ("sqlite:///m.db", {"after_s": 0.0}, []),
        ("http://host:1", {}, ["MLflow's store http://host:1 has not answered for 0 s. Events are queued on disk."]),
        ("sqlite:///m.db", {"after_s": 0.5}, ["MLflow's store sqlite:///m.db is being opened. Waiting up to 1 s."]),
    ],
    ids=["refused", "at once", "silent server", "slow file"],
)
def test_a_wait_for_mlflow_ends_early_or_is_announced(
    uri: str, named: dict[str, Any], said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert waited(uri, **named) < 0.7
    assert capsys.readouterr().err.splitlines() == said


@pytest.mark.parametrize(
    ("tracking", "is_ready", "trouble", "wait_s"),
    [
        ("http://host:1", True, "", 60.0),
        ("http://host:1", True, "lost", 60.0),
        ("http://host:1", False, "", 5.0),
        ("http://host:1", False, "refused", 5.0),
        (None, False, "", 60.0),  # the tables of a new file are being made
        (None, False, "damaged", 5.0),
    ],
)
def test_the_end_of_a_search_waits_for_a_store_as_long_as_it_may_answer(
    search: ResolvedSearch,
    monkeypatch: pytest.MonkeyPatch,
    tracking: str | None,
    is_ready: bool,
    trouble: str,
    wait_s: float,
) -> None:
    closed = []
    ready = threading.Event()
    if is_ready:
        ready.set()
    stub = SimpleNamespace(ready=ready, trouble=trouble, start=lambda: None, close=closed.append)
    monkeypatch.setattr(start, "Tracker", lambda *_, **__: stub)
    search = changed(search, tracking=tracking or search.stores.tracking)
    journal: Any = SimpleNamespace(owner="x")
    with start.tracked(search, journal):
        pass
    assert closed == [wait_s]
