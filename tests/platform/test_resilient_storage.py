"""Optuna's database goes away in the middle of any call: nothing is lost, and nothing is done twice."""

import multiprocessing
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState

from platform import resilient_storage as storage_module
from platform.lock import locked_study
from platform.resilient_storage import PatientStorage
from platform.study import open_storage
from shards_tools.errors import Error
from tests.platform.broken_line import broken_line
from tests.platform.postgres import Server, running_server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def database(server: Server) -> str:
    """The address of an empty database."""
    server.start()
    return server.new_database(f"test {time.monotonic_ns()}")


@contextmanager
def opened(url: str) -> Iterator[PatientStorage]:
    storage = open_storage(url)
    try:
        yield storage
    finally:
        storage.engine.dispose()


def a_small_search(storage: Any, looking: Callable[[], Any] = nullcontext) -> list[tuple[object, ...]]:
    """What a study remembers after every kind of call that a search makes, `looking` while it asks."""
    study = optuna.create_study(study_name="s", storage=storage, load_if_exists=True, direction="maximize")
    study.sampler = optuna.samplers.RandomSampler(seed=0)
    study.set_user_attr("search", {"seed": 0})
    study.enqueue_trial({"x": 0.25}, user_attrs={"baseline": "row"})
    for number in range(3):
        with looking():
            trial = study.ask()
            trial.suggest_float("x", 0, 1)
            trial.set_user_attr("attempts", 1)
        trial.report(number / 10, 1)
        if number == 1:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, number)
    study.ask()
    return [
        (trial.number, trial.state, trial.values, trial.params, trial.user_attrs, trial.intermediate_values)
        for trial in study.get_trials()
    ]


@pytest.mark.slow
@pytest.mark.parametrize("server_notices", [True, False], ids=["noticed", "not noticed"])
@pytest.mark.parametrize("arrives", [True, False], ids=["done", "not done"])
def test_a_line_that_breaks_at_any_commit_changes_nothing(
    server: Server, database: str, arrives: bool, server_notices: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_module, "FIRST_PAUSE_S", 0.01)
    undisturbed = a_small_search(optuna.storages.InMemoryStorage())
    with broken_line(server.port) as line, opened(database.replace(str(server.port), str(line.port))) as storage:
        line.arrives, line.server_notices = arrives, server_notices
        with locked_study(storage, "s"):
            before = line.num_commits
            assert a_small_search(storage) == undisturbed
            num_commits = line.num_commits - before
            assert num_commits > 20, "every write; a read ends without one"
            for number in range(num_commits):
                optuna.delete_study(study_name="s", storage=storage)
                line.break_at = line.num_commits + number
                assert a_small_search(storage, storage.looking_once) == undisturbed, f"broken at commit {number}"
                assert line.num_commits > line.break_at


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_a_server_that_is_started_again_is_waited_for(
    server: Server, database: str, how: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    undisturbed = a_small_search(optuna.storages.InMemoryStorage())
    with opened(database) as storage, locked_study(storage, "s"):
        a_small_search(storage)
        optuna.delete_study(study_name="s", storage=storage)
        server.stop(how)
        again = threading.Timer(1.5, server.start)
        again.start()
        assert a_small_search(storage) == undisturbed
        again.join()
    away, back = capsys.readouterr().err.splitlines()
    assert "does not answer" in away
    assert "Waiting up to 10 minutes" in away
    assert "answers again after" in back


def test_a_server_that_is_away_at_the_start_is_waited_for(
    server: Server, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.stop()
    again = threading.Timer(1.5, server.start)
    again.start()
    with opened(database) as storage:
        assert [trial[0] for trial in a_small_search(storage)] == [0, 1, 2, 3]
    again.join()
    away, back = capsys.readouterr().err.splitlines()
    assert "Connection refused). Waiting up to 10 minutes" in away
    assert "answers again after" in back


@pytest.mark.parametrize("what", ["database", "role", "host"])
def test_an_address_with_a_mistake_is_not_waited_for(server: Server, database: str, what: str) -> None:
    wrong = {"database": f"{database}-none", "role": database.replace("sakuga@", "nobody@")}
    wrong["host"] = database.replace("127.0.0.1", "nowhere.invalid")
    started = time.monotonic()
    with pytest.raises(Error, match=r"Optuna's database .* cannot be used: .*(does not exist|failed to resolve)"):
        open_storage(wrong[what])
    assert time.monotonic() < started + 60


def test_a_server_that_stays_away_at_the_start_is_one_error(
    server: Server, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_module, "PATIENCE_S", 1.0)
    server.stop()
    try:
        with pytest.raises(Error, match=r"has not answered for \d+ s"):
            open_storage(database)
    finally:
        server.start()


def test_a_server_that_stays_away_is_one_error_and_then_the_same_at_once(
    server: Server, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_module, "PATIENCE_S", 1.0)
    with opened(database) as storage:
        study = optuna.create_study(study_name="s", storage=storage)
        trial = study.ask()
        server.stop()
        with pytest.raises(Error, match=r"has not answered for \d+ s") as first:
            trial.report(1.0, 1)
        assert "\n" not in str(first.value)
        started = time.monotonic()
        with pytest.raises(Error) as second:
            study.ask()
        assert second.value is first.value
        assert time.monotonic() - started < 1.0
    server.start()
    with opened(database) as storage:
        trials = optuna.load_study(study_name="s", storage=storage).trials
        assert [trial.state for trial in trials] == [TrialState.RUNNING]


def test_somebody_who_interrupts_does_not_wait(server: Server, database: str) -> None:
    with opened(database) as storage:
        study = optuna.create_study(study_name="s", storage=storage)
        server.stop()
        storage.interrupted = lambda: time.monotonic() > started + 0.5
        started = time.monotonic()
        with pytest.raises(Error, match="has not answered"):
            study.ask()
        assert time.monotonic() < started + 60


@pytest.mark.slow
def test_a_database_that_is_locked_for_longer_than_sqlite_waits_is_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(f"sqlite:///{tmp_path}/optuna.db") as storage:
        study = optuna.create_study(study_name="s", storage=storage)
        with closing(sqlite3.connect(tmp_path / "optuna.db", check_same_thread=False)) as other:
            other.execute("BEGIN EXCLUSIVE")
            release = threading.Timer(6.0, other.rollback)  # SQLite itself gives up after 5 s
            release.start()
            study.ask()
            release.join()
        assert [trial.number for trial in study.trials] == [0]
    assert "database is locked" in capsys.readouterr().err


def test_a_full_disk_is_not_waited_for(tmp_path: Path) -> None:
    with opened(f"sqlite:///{tmp_path}/optuna.db") as storage:
        study = optuna.create_study(study_name="s", storage=storage)
        limit = sqlalchemy.text("PRAGMA max_page_count = 1")  # SQLite takes the size that there is
        storage.engine.dispose()
        sqlalchemy.event.listen(storage.engine, "connect", lambda line, _: line.execute(str(limit)))
        with pytest.raises(Error, match=r"optuna\.db cannot be written: database or disk is full\. Free space"):
            study.set_user_attr("much", "x" * 2**20)


def _open(url: str, go: Event, answers: Any) -> None:
    go.wait(30)
    try:
        with opened(url):
            answers.put("opened")
    except Error as error:
        answers.put(str(error))


def opened_at_once(url: str, num: int) -> list[str]:
    context = multiprocessing.get_context("fork")
    go, answers = context.Event(), context.Queue()
    searches = [context.Process(target=_open, args=(url, go, answers)) for _ in range(num)]
    for search in searches:
        search.start()
    go.set()
    said = [answers.get(timeout=60) for _ in searches]
    for search in searches:
        search.join()
    return said


def test_searches_that_start_at_once_on_an_empty_database_make_its_tables_once(database: str) -> None:
    assert opened_at_once(database, 5) == ["opened"] * 5


@pytest.mark.integration
def test_searches_that_start_at_once_on_a_new_file_make_its_tables_once(tmp_path: Path) -> None:
    assert opened_at_once(f"sqlite:///{tmp_path}/optuna.db", 5) == ["opened"] * 5


@pytest.mark.parametrize(
    ("password", "remedy"),
    [("p@ss", "has an @ in its password. Write it as %40"), ("p ss", "Write it as %20"), ("p'ss", "%27")],
)
def test_a_password_that_a_message_could_not_hide_is_refused(password: str, remedy: str) -> None:
    with pytest.raises(Error) as refused:
        open_storage(f"postgresql+psycopg://me:{password}@127.0.0.1:9/name")
    assert remedy in str(refused.value)
    assert "ss" not in str(refused.value).replace("password", "")


def test_another_driver_than_psycopg_is_refused() -> None:
    with pytest.raises(Error, match="postgresql\\+asyncpg is another database or driver"):
        open_storage("postgresql+asyncpg://host/name")
