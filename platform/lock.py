"""One driver per study: locks that are released when their process or its database connection ends."""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import sqlalchemy
from sqlalchemy import text
from sqlalchemy.engine import Connection

from platform.databases import SERVER_OPTIONS
from platform.resilient_storage import DatabaseAway, PatientStorage, Wait, patiently, raise_away
from platform.stores import Stores
from shards_tools.errors import Error
from shards_tools.folders import refuse_link

# Reads the session that holds a 64-bit advisory lock.
HOLDER = text(
    "SELECT a.pid, a.backend_start, a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
    " WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted AND l.database = (SELECT oid FROM pg_database"
    " WHERE datname = current_database()) AND (l.classid::bigint << 32 | l.objid::bigint) = :key"
)


@contextmanager
def only_driver(stores: Stores, storage: PatientStorage) -> Iterator[None]:
    """Hold the locks that make this process the study's only driver, in its folder and its database.

    Raises:
        StudyTaken: another driver runs the study.
        Error: this user may not write the lock.
    """
    with ExitStack() as locks:
        locks.enter_context(locked_file(stores.folder / "driver.lock", stores.study))
        file = storage.engine.url.database if storage.engine.name == "sqlite" else None
        if file and Path(file).absolute().parent != stores.runs:  # drivers with other --runs may write to it
            locks.enter_context(locked_file(Path(f"{file}.{stores.study}.lock"), stores.study))
        if storage.engine.name == "postgresql":
            locks.enter_context(locked_study(storage, stores.study))
        yield


@contextmanager
def locked_study(storage: PatientStorage, study: str) -> Iterator[None]:
    """Hold the study's lock in a PostgreSQL database; every call of the storage first checks that it is still held."""
    lock, open_to_all = ServerLock(storage, study), storage.fence
    try:
        patiently(lock.hold, Wait(storage.url))
        storage.fence = lock.hold
        yield
    finally:
        storage.fence = open_to_all
        lock.release()


@contextmanager
def locked_file(path: Path, study: str) -> Iterator[None]:
    """Hold the lock file `path`.

    Raises:
        Error: another process holds it, or this user may not write it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = open(path, "a+", opener=refuse_link)  # noqa: SIM115  closed below
    except PermissionError as failure:
        raise Error(f"{path} cannot be written: {failure.strerror}. Use a folder of your own with --runs.") from None
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise _taken(study, file.read().strip() or "another process") from None
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield


class ServerLock:
    """A PostgreSQL advisory lock on its own connection; the server releases it when the connection ends."""

    def __init__(self, storage: PatientStorage, study: str) -> None:
        self._study, self._guarded = study, storage.name
        digest = hashlib.sha256(f"driver of study {study}".encode()).digest()
        self._key = int.from_bytes(digest[:8], "big", signed=True)
        me = f"process {os.getpid()} on {socket.gethostname()}"
        self._engine = sqlalchemy.create_engine(
            storage.engine.url,
            poolclass=sqlalchemy.NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={**SERVER_OPTIONS, "application_name": me[:63]},  # the server's limit
        )
        sqlalchemy.event.listen(self._engine, "handle_error", raise_away)
        self._connection: Connection | None = None
        self._session: tuple[object, ...] = ()  # the server's process id and start time of that connection

    def hold(self, again: bool) -> None:
        """Make sure that the lock is held; acquire it again if its connection was lost.

        Args:
            again: terminate the storage's lost connections at the server, so that their statements are either done or
                rolled back.

        Raises:
            DatabaseAway: the server does not answer.
            Error: another driver runs the study.
        """
        connection = self._connected()
        if again:
            end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = :name"
            connection.execute(text(end), {"name": self._guarded})

    def _connected(self) -> Connection:
        if self._connection is not None:
            try:
                self._connection.execute(text("SELECT 1"))
                return self._connection
            except DatabaseAway:
                self.release()
        connection = self._engine.connect()
        try:
            self._take(connection)
        except BaseException:
            _end(connection)
            raise
        self._connection = connection
        return connection

    def release(self) -> None:
        """Release the lock."""
        if self._connection is not None:
            _end(self._connection)
            self._connection = None

    def _take(self, connection: Connection) -> None:
        take = text("SELECT pg_try_advisory_lock(:key)")
        while not connection.execute(take, {"key": self._key}).scalar():
            holder = connection.execute(HOLDER, {"key": self._key}).first()
            if holder is None:
                continue  # it was released between the two queries
            if self._session and tuple(holder[:2]) == self._session:
                # Our previous connection, which broke without the server noticing.
                connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": holder[0]})
                continue
            raise _taken(self._study, holder[2] or "another driver")
        mine = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        self._session = tuple(connection.execute(text(mine)).one())


def _end(connection: Connection) -> None:
    connection.invalidate()  # close() alone would wait for a server that may be gone
    connection.close()


class StudyTaken(Error):
    """Another driver runs the study."""


def _taken(study: str, holder: str) -> StudyTaken:
    return StudyTaken(f"Study {study} is being run by {holder}. Wait for it, stop it, or give another --study NAME.")
