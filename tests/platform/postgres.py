"""A PostgreSQL server of the tests' own: in a folder that goes with it, on this machine alone, ended by process id."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

START_TIMEOUT_S = 60


def binaries() -> Path | None:
    """The folder of PostgreSQL's programs; None where they are not installed."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((place for place in reversed(places) if (place / "initdb").exists()), None)


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One PostgreSQL server, which can be ended and started again on its data."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder, self.port = folder, port
        self._bin = binaries() or pytest.skip("PostgreSQL's programs are not installed")
        self._process: subprocess.Popen[bytes] | None = None
        self._user: int | None = None
        if os.getuid() == 0:  # which it refuses to run as
            names = {user.pw_name: user.pw_uid for user in pwd.getpwall()}
            self._user = names.get("postgres", names["nobody"])
            os.chown(folder, self._user, -1)
        make = [self._bin / "initdb", "--pgdata", folder / "data", "--username", "sakuga", "--auth", "trust", "-N"]
        subprocess.run(make, user=self._user, cwd=folder, check=True, capture_output=True)

    def start(self) -> None:
        """Start it where it does not run, and wait until it answers."""
        if self._process is not None:
            return
        words = [self._bin / "postgres", "-D", self._folder / "data", "-k", self._folder, "-p", str(self.port)]
        words += ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(words, user=self._user, cwd=self._folder, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        ready = [self._bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode != 0:
            assert time.monotonic() < deadline, (self._folder / "log").read_text()
            time.sleep(0.1)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT is `pg_ctl stop -m fast`, SIGQUIT `-m immediate`, after which it recovers at its start."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    def new_database(self, name: str) -> str:
        """The address of a database that nobody has used."""
        self.sql(f'CREATE DATABASE "{name}"')
        return f"postgresql+psycopg://sakuga@127.0.0.1:{self.port}/{name}"

    def sql(self, line: str, database: str = "postgres") -> str:
        """What the server answers to one statement."""
        words = [
            self._bin / "psql",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            "sakuga",
            "-d",
            database,
            "-Atc",
            line,
        ]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def running_server() -> Iterator[Server]:
    """A server for as long as the context lasts; skips where it cannot be had."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    if binaries() is None:
        pytest.skip("PostgreSQL's programs are not installed")
    folder = Path(tempfile.mkdtemp(prefix="sakuga-postgres-"))
    try:
        server = Server(folder, free_port())
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
