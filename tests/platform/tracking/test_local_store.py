"""An SQLite store of MLflow has all of its tables or does not exist, whenever a process that makes it is killed."""

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.db import utils
from sqlalchemy.exc import SQLAlchemyError

from platform.tracking import local_store
from platform.tracking.local_store import is_complete, make_tables
from shards_tools.errors import Error
from tests.platform.driver import ROOT

pytestmark = pytest.mark.integration


def experiments(file: Path) -> list[str]:
    return [found.name for found in MlflowClient(tracking_uri=f"sqlite:///{file}").search_experiments()]


def change(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


@pytest.fixture
def half_made(tmp_path: Path) -> Path:
    """A store as a process leaves it that is killed while MLflow changes its first tables to the newest version."""
    file = tmp_path / "mlflow.db"
    make_tables(f"sqlite:///{file}")
    change(file, "UPDATE alembic_version SET version_num = 'cbc13b556ace'", "DROP TABLE trace_info")
    copy = tmp_path / "copy.db"
    copy.write_bytes(file.read_bytes())
    with pytest.raises((MlflowException, SQLAlchemyError)):
        experiments(copy)
    return file


def test_a_store_that_is_missing_or_empty_is_made(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    for name in ("missing.db", "empty.db"):
        make_tables(f"sqlite:///{tmp_path / name}")
        assert experiments(tmp_path / name) == ["Default"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.db", "missing.db"]


def test_a_half_made_store_is_made_again(half_made: Path) -> None:
    make_tables(f"sqlite:///{half_made}")
    assert experiments(half_made) == ["Default"]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO experiments (experiment_id, name) VALUES (7, 'mine')",
        "INSERT INTO runs (run_uuid, status) VALUES ('a', 'RUNNING')",
        "CREATE TABLE trials (number INTEGER)",
    ],
)
def test_a_database_with_something_to_keep_stays_as_it_is(statement: str, half_made: Path) -> None:
    change(half_made, statement)
    before = half_made.read_bytes()
    with pytest.raises(Error, match=r"'cbc13b556ace', but the installed MLflow .* mlflow db upgrade sqlite:///"):
        make_tables(f"sqlite:///{half_made}")
    assert half_made.read_bytes() == before


def test_a_fresh_store_of_a_newer_mlflow_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    make_tables(f"sqlite:///{file}")
    assert is_complete(f"sqlite:///{file}")
    change(file, "UPDATE alembic_version SET version_num = 'ffffffffffff'")
    before = file.read_bytes()
    for use in (make_tables, is_complete):
        with pytest.raises(Error, match=r"has MLflow's schema 'ffffffffffff', .* pip install --upgrade mlflow"):
            use(f"sqlite:///{file}")
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("content", [b"not a database", b"SQLite format 3\x00" + b"\xff" * 200])
def test_another_file_stays_as_it_is(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file.db").write_bytes(content)
    with pytest.raises(Error, match=r"file\.db is damaged, or no database\. Restore it"):
        make_tables(f"sqlite:///{tmp_path / 'file.db'}")
    assert (tmp_path / "file.db").read_bytes() == content


def test_a_failure_while_tables_are_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("killed")

    monkeypatch.setattr(utils, "_upgrade_db", fail)
    with pytest.raises((RuntimeError, MlflowException)):
        make_tables(f"sqlite:///{tmp_path}/mlflow.db")
    assert list(tmp_path.iterdir()) == []


def test_a_search_that_has_been_faster_keeps_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mlflow.db"
    make = local_store.os.link

    def late(beside: Path, target: Path) -> None:
        other = MlflowClient(tracking_uri=f"sqlite:///{target}")
        other.create_experiment("theirs")
        make(beside, target)

    monkeypatch.setattr(local_store.os, "link", late)
    make_tables(f"sqlite:///{file}")
    assert set(experiments(file)) == {"Default", "theirs"}


@pytest.mark.slow
def test_a_process_that_is_killed_at_any_moment_leaves_a_store_that_opens(tmp_path: Path) -> None:
    words = f"from platform.tracking.quiet_mlflow import client_of; client_of('sqlite:///{tmp_path}/mlflow.db')"
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", words], cwd=ROOT, check=True)
    takes_s = time.monotonic() - started
    (tmp_path / "mlflow.db").unlink()
    for part in range(1, 20):
        with subprocess.Popen([sys.executable, "-c", words], cwd=ROOT) as process:
            time.sleep(takes_s * (0.3 + 0.7 * part / 20))
            process.kill()
        if (tmp_path / "mlflow.db").exists():
            assert experiments(tmp_path / "mlflow.db") == ["Default"]
            (tmp_path / "mlflow.db").unlink()
    make_tables(f"sqlite:///{tmp_path}/mlflow.db")
    assert experiments(tmp_path / "mlflow.db") == ["Default"]
