"""Create MLflow's tables in an SQLite file completely or not at all.

MLflow creates them in some seconds and many steps, and cannot open what a killed process leaves.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from contextlib import closing, suppress
from pathlib import Path

from platform.resilient_storage import sqlite_file
from shards_tools.folders import sync_files

DEFAULT_EXPERIMENT = "Default"  # MLflow's own
TABLE_IN_THE_MAKING = "_alembic_tmp_"


def make_tables(uri: str) -> None:
    """Create the file of an SQLite store, under another name until its tables are complete; others stay as they are.

    A file that was left half made and has no runs is replaced.
    """
    from mlflow import MlflowClient

    file = sqlite_file(uri)
    if file is None or (file.exists() and not _is_half_made(file)):
        return
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
            known = connection.execute("SELECT version_num FROM alembic_version") if "alembic_version" in tables else []
            own = {name for name in tables if not name.startswith(TABLE_IN_THE_MAKING)}
            return own <= _tables_of_mlflow() and _newest_version() not in [version for (version,) in known]
    except sqlite3.Error:  # a damaged file, or another kind of file: MLflow says so
        return False


def _tables_of_mlflow() -> set[str]:
    from mlflow.store.db.base_sql_model import Base

    return {*Base.metadata.tables, "alembic_version"}


def _newest_version() -> str | None:
    import mlflow
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(Path(mlflow.__file__).parent / "store" / "db_migrations")).get_current_head()
