"""Checks that a search can write to its stores and read from them; every test write is removed at once."""

from __future__ import annotations

import re
import tempfile
import textwrap
import uuid
from pathlib import Path

import optuna
import sqlalchemy

from platform.databases import MLFLOW, OPTUNA, Library, recognize, sqlite_file
from platform.resolved_search import ResolvedSearch
from platform.stores import Stores, default_storage, default_tracking
from platform.study import check_same_search, check_same_settings, open_storage
from platform.tracking.local_store import check_store
from platform.tracking.quiet_mlflow import IMPATIENT, client_of, import_quietly
from platform.trial_record import StudyRecord
from shards_tools.errors import MAX_REASON, Error
from shards_tools.redaction import redact

REMEDIES = {
    "--runs": "Give a folder that this user may write to.",
    "--storage": "Give --storage sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME, where this user may write.",
    "--tracking": "Give --tracking sqlite:///FILE, postgresql://... or http://HOST:PORT, where this user may write.",
}
# What a message calls a store that the user has not given with its option: its place follows from --runs.
DEFAULTS = {"--storage": "Optuna's database", "--tracking": "MLflow's store"}


def try_stores(search: ResolvedSearch) -> optuna.Study | None:
    """Write to and read from the folder of runs, Optuna's database and MLflow's store.

    Returns:
        The study, or None if there is none yet.

    Raises:
        Error: a store cannot be used.
    """
    stores = search.stores
    _try_folder("--runs", f"--runs {stores.runs}", stores.runs)
    check_store(stores)
    storage = _as_given("--storage", stores.storage, default_storage(stores.runs))
    study = _stored_study(search) if _try_database(OPTUNA, storage, stores.storage) else None
    tracking = _as_given("--tracking", stores.tracking, default_tracking(stores.runs))
    if stores.tracking.startswith("http"):
        _try_mlflow(tracking, stores, writes=True)
    elif _try_database(MLFLOW, tracking, stores.tracking):
        _try_mlflow(tracking, stores, writes=False)
    return study


def _as_given(option: str, address: str, default: str) -> str:
    """Return a store for a message: with its option, or with its name if the user has not given the option."""
    return f"{option if address != default else DEFAULTS[option]} {address}"


def existing_folder(folder: Path) -> Path:
    """Return the folder, or its nearest parent that exists."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def _try_folder(option: str, asked: str, folder: Path) -> None:
    """Write and read a file in the folder, or in its nearest parent that exists."""
    try:
        with tempfile.TemporaryDirectory(prefix=".dry-run-", dir=existing_folder(folder)) as room:
            (Path(room) / "file").write_text("written")
            (Path(room) / "file").read_text()
    except OSError as failure:
        raise _refused(option, asked, failure.strerror or str(failure)) from failure


def _try_database(library: Library, asked: str, url: str) -> bool:
    """Write to the database and roll back; return whether it has the library's tables."""
    try:
        file = sqlite_file(url)
        if file and not file.exists():
            _try_folder(library.option, asked, file.absolute().parent)
            return False
        has_tables = recognize(url, library)
        engine = sqlalchemy.create_engine(url)
        try:
            # Transactions are started explicitly, because Python's sqlite3 starts none for CREATE TABLE.
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                _write_and_roll_back(connection)
            return has_tables
        finally:
            engine.dispose()
    except (ImportError, ValueError, sqlalchemy.exc.SQLAlchemyError) as failure:
        raise _refused(library.option, asked, str(getattr(failure, "orig", None) or failure)) from None


def _write_and_roll_back(connection: sqlalchemy.Connection) -> None:
    table = f"dry_run_{uuid.uuid4().hex}"
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.dialect.name == "sqlite" else "BEGIN")
    try:
        connection.exec_driver_sql(f"CREATE TABLE {table} (number INTEGER)")
        connection.exec_driver_sql(f"INSERT INTO {table} VALUES (1)")
        connection.exec_driver_sql(f"SELECT number FROM {table}").one()
    finally:
        connection.exec_driver_sql("ROLLBACK")


def _stored_study(search: ResolvedSearch) -> optuna.Study | None:
    storage = open_storage(search.stores.storage, read_only=True)
    try:
        study = optuna.load_study(study_name=search.stores.study, storage=storage)
    except KeyError:
        return None
    if StudyRecord(study).is_search:
        check_same_search(study, search)
        check_same_settings(study, search.setup)
    return study


def _try_mlflow(asked: str, stores: Stores, *, writes: bool) -> None:
    """Read the study's experiment from MLflow as the search will; if `writes`, also try to write."""
    import_quietly(**IMPATIENT)
    from mlflow.entities import ViewType
    from mlflow.exceptions import MlflowException

    try:
        client = client_of(stores.tracking)
        client.get_experiment_by_name(stores.study)
        known = client.search_experiments(view_type=ViewType.ALL, max_results=1)
        if writes and known:
            # The name is taken: the server tries to write it, and its database refuses.
            client.create_experiment(known[0].name)
    except MlflowException as failure:
        if failure.error_code != "RESOURCE_ALREADY_EXISTS":
            raise _refused("--tracking", asked, failure.message) from None


def _refused(option: str, asked: str, cause: str) -> Error:
    cause = (redact(cause).strip().splitlines() or ["no reason given"])[0].rstrip(".")
    of_system = re.search(r"\[Errno \d+\] [^\"')]+", cause)  # at the end of what urllib3 says
    cause = of_system[0] if of_system else textwrap.shorten(cause, MAX_REASON)
    return Error(f"{asked} cannot be written: {cause}. {REMEDIES[option]}")
