"""One driver per study, wherever it runs: files lock on one machine, the database between machines."""

import multiprocessing
import os
import socket
import threading
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from platform.lock import locked_study, only_driver
from platform.resolved_search import ResolvedSearch
from shards_tools.errors import Error
from tests.platform.broken_line import broken_line
from tests.platform.postgres import Server, running_server
from tests.platform.searches import changed
from tests.platform.test_resilient_storage import opened


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture(scope="module")
def database(server: Server) -> str:
    return server.new_database("locks")


def _drive(url: str, study: str, held: Event, free: Event) -> None:
    with opened(url) as storage, locked_study(storage, study):
        held.set()
        free.wait(60)


class Driver:
    """Another driver, in a process of its own."""

    def __init__(self, url: str, study: str) -> None:
        context = multiprocessing.get_context("fork")
        held, self._free = context.Event(), context.Event()
        self.process = context.Process(target=_drive, args=(url, study, held, self._free))
        self.process.start()
        assert held.wait(30)

    def end(self) -> None:
        self._free.set()
        self.process.join()


def test_a_driver_on_another_machine_is_refused_and_the_first_one_named(database: str) -> None:
    first = Driver(database, "s")
    with opened(database) as storage:
        who = f"is being run by process {first.process.pid} on {socket.gethostname()}"
        with pytest.raises(Error, match=who), locked_study(storage, "s"):
            pass
        with locked_study(storage, "another study"):
            pass
        first.end()
        with locked_study(storage, "s"):
            pass


def test_a_killed_driver_leaves_no_lock(database: str) -> None:
    first = Driver(database, "s")
    first.process.kill()
    first.process.join()
    with opened(database) as storage, locked_study(storage, "s"):
        pass


def end_sessions(server: Server) -> None:
    """End every session that holds a lock, as an administrator or a broken line does."""
    server.sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'")


def test_a_start_waits_for_a_server_that_is_away(server: Server, database: str) -> None:
    with opened(database) as storage:
        server.stop()
        again = threading.Timer(1.0, server.start)
        again.start()
        with locked_study(storage, "s"):
            again.join()
            assert server.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "1"


def test_a_lock_whose_connection_is_lost_is_taken_again(server: Server, database: str) -> None:
    with opened(database) as storage, locked_study(storage, "s"):
        end_sessions(server)
        assert storage.get_all_studies() == []
        with opened(database) as other, pytest.raises(Error, match="is being run by"), locked_study(other, "s"):
            pass


def test_a_driver_whose_study_was_taken_meanwhile_ends(server: Server, database: str) -> None:
    with opened(database) as storage, locked_study(storage, "s"):
        end_sessions(server)
        second = Driver(database, "s")
        for _ in range(2):
            with pytest.raises(Error, match=f"is being run by process {second.process.pid}"):
                storage.get_all_studies()
        second.end()


def test_a_lock_that_the_server_still_gives_to_a_broken_line_is_taken_over(server: Server, database: str) -> None:
    with broken_line(server.port) as line:
        line.server_notices = False
        with opened(database.replace(str(server.port), str(line.port))) as storage, locked_study(storage, "s"):
            line.cut()
            assert storage.get_all_studies() == []


def test_the_end_of_a_driver_frees_the_storage(database: str) -> None:
    """What is printed after the end needs no lock, and takes none."""
    with opened(database) as storage:
        with locked_study(storage, "s"):
            pass
        second = Driver(database, "s")
        assert storage.get_all_studies() == []
        second.end()


def test_drivers_of_one_file_exclude_one_another(search_of: Callable[..., ResolvedSearch], tmp_path: Path) -> None:
    search = search_of("--storage", f"sqlite:///{tmp_path}/shared/optuna.db")
    elsewhere = changed(search, runs=tmp_path / "elsewhere")
    with opened(search.stores.storage) as first, opened(search.stores.storage) as second:
        with only_driver(search.stores, first):
            named = f"is being run by process {os.getpid()}"
            with pytest.raises(Error, match=named), only_driver(elsewhere.stores, second):
                pass
        with only_driver(elsewhere.stores, second):
            pass
