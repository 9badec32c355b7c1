"""A PostgreSQL server of the tests' own: in a folder that goes with it, ended by process id."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
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

    def __init__(self, folder: Path, port: int, host: str, enter: Sequence[str]) -> None:
        self._folder, self.port = folder, port
        self._host, self._enter = host, enter
        self._bin = binaries() or pytest.skip("PostgreSQL's programs are not installed")
        self._process: subprocess.Popen[bytes] | None = None
        self._user: int | None = None
        if os.getuid() == 0:  # which it refuses to run as
            names = {user.pw_name: user.pw_uid for user in pwd.getpwall()}
            self._user = names.get("postgres", names["nobody"])
            os.chown(folder, self._user, -1)
        make = [self._bin / "initdb", "--pgdata", folder / "data", "--username", "sakuga", "--auth", "trust", "-N"]
        subprocess.run(make, user=self._user, cwd=folder, check=True, capture_output=True)
        with open(folder / "data/pg_hba.conf", "a") as who:
            who.write(f"host all all {host}/24 trust\n")

    def start(self) -> None:
        """Start it where it does not run, and wait until it answers."""
        if self._process is not None:
            return
        become = [] if self._user is None else ["setpriv", f"--reuid={self._user}", "--clear-groups"]
        words = [*self._enter, *become, self._bin / "postgres", "-D", self._folder / "data", "-k", self._folder]
        words += ["-p", str(self.port), "-c", f"listen_addresses={self._host}", "-c", "fsync=off"]
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(words, cwd=self._folder, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        ready = [*self._enter, self._bin / "pg_isready", "-q", "-h", self._host, "-p", str(self.port)]
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
        return f"postgresql+psycopg://sakuga@{self._host}:{self.port}/{name}"

    def sql(self, line: str, database: str = "postgres") -> str:
        """What the server answers to one statement."""
        words = [*self._enter, self._bin / "psql", "-h", self._host, "-p", str(self.port), "-U", "sakuga"]
        words += ["-d", database, "-Atc", line]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def running_server(host: str = "127.0.0.1", enter: Sequence[str] = ()) -> Iterator[Server]:
    """A server for as long as the context lasts; skips where it cannot be had.

    Args:
        enter: what a command line begins with that runs where `host` is an address.
    """
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    folder = Path(tempfile.mkdtemp(prefix="sakuga-postgres-"))
    try:
        server = Server(folder, free_port(), host, enter)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
