"""Databases of Optuna and MLflow: their addresses, connections that only read, and whose tables a database has.

Both libraries create their tables in any database that they are given. What they are given is therefore recognized
first, without a write, and without the files that SQLite makes next to a database.
"""

from __future__ import annotations

import re
import shlex
import sqlite3
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import text

from shards_tools.errors import Error
from shards_tools.records import short_repr

READ_PATIENCE_S = 60.0  # how long a connection that reads waits while a search writes
# A server that was switched off sends nothing. After these times it counts as unreachable.
SERVER_OPTIONS = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds
}
READ_ONLY_SERVER_OPTIONS = {**SERVER_OPTIONS, "options": "-c default_transaction_read_only=on"}
VERSION_TABLE = "alembic_version"  # of both libraries, so they cannot share a database


def parse_url(url: str) -> sqlalchemy.URL:
    """Return the parts of a database's URL, as the libraries that connect to it read them.

    Raises:
        Error: its password has a character that makes the rest of it a part of the host.
        ArgumentError: it is no URL.
    """
    address = sqlalchemy.engine.make_url(url)
    if "@" in (address.host or ""):
        raise Error(f"{url} has an @ in its password. Write it as %40.")
    if re.search(r"[\s'\"<>]", address.password or ""):
        place = f"{address.drivername}://{address.username}:***@{address.host}"
        raise Error(
            f"{place} has a space, a quotation mark, < or > in its password. Write it as %20, %22, %27, %3C or %3E."
        )
    return address


def sqlite_file(url: str) -> Path | None:
    """Return the file of an SQLite database, or None if the database is on a server or in memory.

    Raises:
        ArgumentError, Error: as in `parse_url`.
    """
    address = parse_url(url)
    return Path(address.database) if address.get_backend_name() == "sqlite" and address.database else None


def server_address(url: str) -> str:
    """Return the address of a PostgreSQL database with the driver that we use.

    Raises:
        ValueError: it names another database or another driver.
        ArgumentError, Error: as in `parse_url`.
    """
    address = parse_url(url)
    if address.drivername not in ("postgresql", "postgresql+psycopg"):
        raise ValueError(f"{address.drivername} is another database or driver")
    return address.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def read_only_connection(file: Path) -> sqlite3.Connection:
    """Return a connection that cannot write; SQLite itself still rolls back the transaction of a killed search."""
    connection = _connected(file, "mode=rw")  # creates no file, and accepts a read-only one
    connection.execute("PRAGMA query_only = ON")
    return connection


@dataclass(frozen=True)
class Library:
    """A library that keeps its state in a database, whose version Alembic writes there.

    Args:
        option: takes the address of such a database.
        core: tables that it has in every version.
        created: tables that a new database gets first; a killed process may leave some of them.
        migrations: the folder of Alembic's scripts in the library's package.
        upgrade: the command that brings a database to the newest version, without its address.
    """

    name: str
    option: str
    core: frozenset[str]
    created: frozenset[str]
    migrations: str
    upgrade: tuple[str, ...]

    @cached_property
    def revisions(self) -> dict[str, str]:
        """Version of the database -> the version before; empty for the first.

        The scripts are read as text: Alembic would import them, and with them MLflow, which takes seconds.
        """
        package = find_spec(self.name.lower())
        assert package is not None
        assert package.origin is not None
        scripts = [file.read_text() for file in (Path(package.origin).parent / self.migrations).glob("*.py")]
        found = ((_assigned(script, "revision"), _assigned(script, "down_revision")) for script in scripts)
        return {own: before for own, before in found if own}

    @property
    def newest(self) -> str | None:
        """The version that the installed library needs; None if its scripts do not say."""
        heads = self.revisions.keys() - set(self.revisions.values())
        return heads.pop() if len(heads) == 1 else None


OPTUNA = Library(
    name="Optuna",
    option="--storage",
    core=frozenset({"studies", "trials", "version_info"}),
    created=frozenset(
        {
            *("studies", "study_directions", "study_user_attributes", "study_system_attributes", "version_info"),
            *("trials", "trial_user_attributes", "trial_system_attributes", "trial_params", "trial_values"),
            *("trial_intermediate_values", "trial_heartbeats"),
        }
    ),
    migrations="storages/_rdb/alembic/versions",
    upgrade=("optuna", "storage", "upgrade", "--storage"),
)
MLFLOW = Library(
    name="MLflow",
    option="--tracking",
    core=frozenset({"experiments", "runs", "metrics", "params", "tags"}),
    created=frozenset({"experiments", "runs", "metrics", "params", "tags"}),
    migrations="store/db_migrations/versions",
    upgrade=("mlflow", "db", "upgrade"),
)


class OtherVersion(Error):
    """The database is of another version of its library."""


def recognize(url: str, library: Library, option: str | None = None) -> bool:
    """Return whether a database has all tables of a library; False if it is missing, empty or half made.

    Args:
        url: the address of the database, which is only read.
        library: the library that will use it.
        option: took the address, for the error message; None: the library's own.

    Raises:
        OtherVersion: it is of an older or a newer version of the library.
        Error: it is another program's.
        SQLAlchemyError, sqlite3.Error: it cannot be read.
    """
    tables, found = _contents(url)
    owner = _owner(tables, found)
    if owner is not library and (tables or found):
        example = min(tables, default=VERSION_TABLE)
        whose = f"is {owner.name}'s database" if owner else f"has tables of another program, such as {example}"
        raise Error(f"{url} {whose}. Give {library.name}'s own database with {option or library.option}.")
    if not found:
        return False
    if library.newest in (found, None):
        return True
    installed = f"{library.name} {version(library.name.lower())}"
    what = f"{url} has {library.name}'s schema {short_repr(found)}, but the installed {installed} needs"
    remedy = f"Install a newer one: pip install --upgrade {library.name.lower()}"
    if found in library.revisions:
        remedy = f"Copy the database, then run: {shlex.join((*library.upgrade, url))}"
    raise OtherVersion(f"{what} {library.newest!r}. {remedy}")


def study_names(engine: sqlalchemy.Engine) -> list[str]:
    """Return the names of all studies; unlike in Optuna's own list, damage to one study does not matter."""
    with engine.connect() as connection:
        return [
            str(name) for name in connection.execute(text("SELECT study_name FROM studies ORDER BY study_id")).scalars()
        ]


def are_same_database(first: str, second: str) -> bool:
    """Return whether two addresses lead to one database."""
    files = [sqlite_file(url) for url in (first, second)]
    if files[0] and files[1]:
        return files[0].resolve() == files[1].resolve()
    places = [(url.host, url.port or 5432, url.database) for url in map(parse_url, (first, second))]
    return not any(files) and places[0] == places[1]


def _owner(tables: Collection[str], found: str | None) -> Library | None:
    """Return the library whose tables these are; None if they are another program's, or there are none."""
    libraries = (OPTUNA, MLFLOW)
    by_version = [library for library in libraries if found in library.revisions]
    complete = [library for library in libraries if library.core <= {*tables}]
    half_made = [library for library in libraries if tables and library.created >= {*tables}]
    return next(iter([*by_version, *complete, *half_made]), None)


def _contents(url: str) -> tuple[set[str], str | None]:
    """Return the names of a database's tables, and its version by Alembic; None without one."""
    file = sqlite_file(url)
    if file is None and parse_url(url).get_backend_name() == "sqlite":  # in memory
        return set(), None
    if file is None:
        engine = sqlalchemy.create_engine(
            server_address(url), poolclass=sqlalchemy.NullPool, connect_args=READ_ONLY_SERVER_OPTIONS
        )
        with engine.connect() as server:
            return _tables_and_version(server)
    if not file.exists() or not file.stat().st_size:
        return set(), None
    if not _writes_ahead(file):
        # With locks: another process may be making the tables. It fails if a crash has left changes to undo.
        with suppress(sqlalchemy.exc.DatabaseError):
            return _of_file(file, "mode=ro")
    # Without `immutable` SQLite would make files next to the database of a program that writes ahead, such as Firefox.
    tables, found = _of_file(file, "mode=ro&immutable=1")
    ahead, undone = (file.with_name(f"{file.name}{suffix}") for suffix in ("-wal", "-journal"))
    if _has_bytes(ahead, undone) and (not tables or _owner(tables, found)):  # the file itself may be outdated
        tables, found = _of_file(file, "mode=ro" if _has_bytes(ahead) else "mode=rw")
    return tables, found


def _of_file(file: Path, how: str) -> tuple[set[str], str | None]:
    engine = sqlalchemy.create_engine("sqlite://", creator=lambda: _connected(file, how), poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        return _tables_and_version(connection)


def _tables_and_version(connection: sqlalchemy.Connection) -> tuple[set[str], str | None]:
    tables = set(sqlalchemy.inspect(connection).get_table_names())
    known: Any = None
    if VERSION_TABLE in tables:
        known = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    return tables - {VERSION_TABLE}, None if known is None else str(known)


def _connected(file: Path, how: str) -> sqlite3.Connection:
    address = f"{file.absolute().as_uri()}?{how}"
    return sqlite3.connect(address, uri=True, timeout=READ_PATIENCE_S, check_same_thread=False)


def _writes_ahead(file: Path) -> bool:
    """Return whether a database is in SQLite's WAL mode, by its header (https://sqlite.org/fileformat2.html)."""
    with file.open("rb") as opened:
        return opened.read(20)[18:] == b"\2\2"


def _has_bytes(*files: Path) -> bool:
    return any(file.exists() and file.stat().st_size for file in files)


def _assigned(script: str, name: str) -> str:
    """Return the text that a script assigns to a name; empty if it assigns none."""
    found = re.search(rf"^{name}\b[^=\n]*= *[\"']([^\"']+)", script, re.MULTILINE)
    return found[1] if found else ""
