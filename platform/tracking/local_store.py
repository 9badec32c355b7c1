"""Create MLflow's tables in an SQLite file completely or not at all.

MLflow creates them in some seconds and many steps, and cannot open what a killed process leaves.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from contextlib import closing, suppress
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from platform.databases import MLFLOW, VERSION_TABLE, OtherVersion, are_same_database, recognize, sqlite_file
from platform.stores import Stores
from shards_tools.errors import Error
from shards_tools.folders import sync_files

DEFAULT_EXPERIMENT = "Default"  # MLflow's own
TABLE_IN_THE_MAKING = "_alembic_tmp_"


def check_store(stores: Stores) -> None:
    """Refuse a database that MLflow cannot use, before a search starts; MLflow itself is not imported.

    Raises:
        Error: it is another program's or Optuna's, or of another version of MLflow.
    """
    with suppress(SQLAlchemyError):  # text that is no address is refused where it is opened
        if not stores.tracking.startswith("http") and are_same_database(stores.tracking, stores.storage):
            raise Error(f"{stores.tracking} is Optuna's database. Give MLflow's own database with --tracking.")
    refuse_foreign(stores.tracking)


def refuse_foreign(uri: str) -> None:
    """Refuse the database of another program or of another version of MLflow; a damaged one is refused when it is used.

    Raises:
        Error: it is one.
    """
    is_complete(uri)


def is_complete(uri: str) -> bool:
    """Return whether a database has all tables of MLflow; False also if it is damaged or no database.

    Raises:
        Error: it is another program's, or of another version of MLflow and not half made.
    """
    try:
        return not uri.startswith("http") and recognize(uri, MLFLOW)
    except OtherVersion:
        file = sqlite_file(uri)
        if file is None or not _is_half_made(file):
            raise
    except (SQLAlchemyError, sqlite3.Error, ImportError, ValueError):
        pass
    return False


def make_tables(uri: str) -> None:
    """Create the file of an SQLite store, under another name until its tables are complete; others stay as they are.

    A file that was left half made and has no runs is replaced.

    Raises:
        Error: it is damaged, another program's, or of another version of MLflow.
    """
    from mlflow import MlflowClient

    file = sqlite_file(uri)
    if is_complete(uri) or file is None:
        return
    if file.exists() and not _is_half_made(file):  # MLflow would try to open it for minutes
        raise Error(f"{uri} is damaged, or no database. Restore it from a copy, or name another store with --tracking.")
    beside = file.with_name(f".{file.name}.{uuid.uuid4().hex}")  # MLflow remembers the stores of a process by name
    try:
        MlflowClient(tracking_uri=f"sqlite:///{beside}").search_experiments(max_results=1)
        if file.exists():
            os.replace(beside, file)
        else:
            with suppress(FileExistsError):  # another search has been faster
                os.link(beside, file)
        sync_files(file.parent, levels=1)
    finally:
        beside.unlink(missing_ok=True)


def _is_half_made(file: Path) -> bool:
    """Whether a database has fewer tables than this MLflow needs, and nothing that is worth keeping."""
    if not file.stat().st_size:
        return True
    try:
        # Not read-only: SQLite first rolls the transaction of a killed process back.
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "experiments" in tables:
                named = "SELECT 1 FROM experiments WHERE name != ?"
                has_experiments = connection.execute(named, [DEFAULT_EXPERIMENT]).fetchone()
                if has_experiments or connection.execute("SELECT 1 FROM runs").fetchone():
                    return False
            known = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}") if VERSION_TABLE in tables else []
            is_older = all(found in MLFLOW.revisions.keys() - {MLFLOW.newest} for (found,) in known)
            own = {name for name in tables if not name.startswith(TABLE_IN_THE_MAKING)}
            return is_older and own <= _tables_of_mlflow()
    except sqlite3.Error:  # a damaged file, or another kind of file: MLflow says so
        return False


def _tables_of_mlflow() -> set[str]:
    from mlflow.store.db.base_sql_model import Base

    return {*Base.metadata.tables, VERSION_TABLE}
