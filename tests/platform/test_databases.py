"""Databases of other programs and other versions are refused in one line, and not a byte of them changes."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import alembic.script
import mlflow
import optuna
import pytest

from platform import report, studies, ui
from platform.databases import MLFLOW, OPTUNA, are_same_database, recognize
from platform.preflight.storage_checks import try_stores
from platform.resolved_search import ResolvedSearch
from platform.start import opened_study
from platform.study import open_storage
from platform.warm_start import earlier_settings
from shards_tools.errors import Error
from tests.platform.postgres import running_server
from tests.platform.searches import changed
from tests.platform.stored_by_hand import database, study_by_hand

pytestmark = pytest.mark.integration

MLFLOW_TABLES = tuple(f"CREATE TABLE {table} (name TEXT)" for table in sorted(MLFLOW.core))
ALEMBIC = "CREATE TABLE alembic_version (version_num TEXT)"
FOREIGN = {
    "of Firefox": ("PRAGMA journal_mode = WAL", "CREATE TABLE moz_places (url TEXT)"),
    "of an application": ("CREATE TABLE trials (patient TEXT)", "CREATE TABLE patients (name TEXT)"),
    "with Alembic": (ALEMBIC, "INSERT INTO alembic_version VALUES ('1234')"),
}
OF_MLFLOW = {
    "of MLflow": (*MLFLOW_TABLES, ALEMBIC, f"INSERT INTO alembic_version VALUES ('{MLFLOW.newest}')"),
    "of MLflow without a version": MLFLOW_TABLES,
    # As an earlier version of this project left it.
    "of MLflow with Optuna's tables": (
        *(*MLFLOW_TABLES, ALEMBIC, f"INSERT INTO alembic_version VALUES ('{MLFLOW.newest}')"),
        *(f"CREATE TABLE {table} (name TEXT)" for table in sorted(OPTUNA.core)),
    ),
}
Uses = dict[str, Callable[[str], object]]


def make(file: Path, *statements: str) -> str:
    """Change a database, or create it; its address."""
    file.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(file)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return f"sqlite:///{file}"


@pytest.fixture
def uses_for_optuna(search: ResolvedSearch, search_of: Callable[..., ResolvedSearch]) -> Uses:
    """What is done with an address of Optuna's database."""

    def begin(url: str) -> None:
        with opened_study(changed(search, storage=url)):
            pass

    def warm_start(url: str) -> None:
        warm = search_of("--warm-start", "one", "--warm-start-storage", url)
        earlier_settings(warm.method, warm.setup, warm.stores)

    search.stores.runs.mkdir()
    runs = ("--runs", str(search.stores.runs))
    return {
        "search": begin,
        "search --dry-run": lambda url: try_stores(changed(search, storage=url)),
        "search --warm-start-storage": warm_start,
        "report --list": lambda url: report.main(["--list", "--storage", url]),
        "studies show": lambda url: studies.main(["show", "one", "--storage", url]),
        "studies stop": lambda url: studies.main(["stop", "one", "--trial", "0", "--storage", url, *runs]),
        "studies delete": lambda url: studies.main(["delete", "one", "--storage", url, *runs]),
    }


@pytest.fixture
def uses_for_mlflow(search: ResolvedSearch, tmp_path: Path) -> Uses:
    """What is done with an address of MLflow's store."""

    def begin(url: str) -> None:
        with opened_study(changed(search, tracking=url)):
            pass

    search.stores.runs.mkdir()
    runs = ("--runs", str(search.stores.runs))
    study_by_hand("one", search.stores.storage)
    out = str(tmp_path / "report")
    return {
        "search": begin,
        "search --dry-run": lambda url: try_stores(changed(search, tracking=url)),
        "report": lambda url: report.main(["one", "--out", out, "--tracking", url, *runs]),
        "studies delete": lambda url: studies.main(["delete", "one", "--tracking", url, *runs]),
        "ui": lambda url: ui.main(["--runs", str(Path(url.removeprefix("sqlite:///")).parent)]),
    }


def assert_refused(uses: Uses, url: str, message: str) -> None:
    """Every use is one line with the address, and leaves the database and the folder around it as they were."""
    file = Path(url.removeprefix("sqlite:///"))
    before = {path: path.read_bytes() for path in file.parent.iterdir()}
    for name, use in uses.items():
        with pytest.raises(Error) as refused:
            use(url)
        said = str(refused.value)
        assert re.search(message, said), f"{name}: {said}"
        assert "\n" not in said, name
        assert {path: path.read_bytes() for path in file.parent.iterdir()} == before, name


@pytest.mark.parametrize("content", FOREIGN)
def test_another_programs_database_is_refused_as_optunas(content: str, uses_for_optuna: Uses, tmp_path: Path) -> None:
    url = make(tmp_path / "theirs" / "a.db", *FOREIGN[content])
    assert_refused(uses_for_optuna, url, r"a\.db has tables of another program, such as .* Give Optuna's own")


@pytest.mark.parametrize("content", OF_MLFLOW)
def test_mlflows_database_is_refused_as_optunas(content: str, uses_for_optuna: Uses, tmp_path: Path) -> None:
    url = make(tmp_path / "theirs" / "a.db", *OF_MLFLOW[content])
    assert_refused(
        uses_for_optuna, url, r"a\.db is MLflow's database\. Give Optuna's own .* with --(warm-start-)?storage"
    )


@pytest.mark.parametrize(
    ("version", "remedy"), [("v3.0.0.a", "optuna storage upgrade --storage sqlite:///"), ("v9.0.0.a", "pip install")]
)
def test_another_version_of_optunas_database_is_refused_with_both_versions(
    version: str, remedy: str, uses_for_optuna: Uses, tmp_path: Path
) -> None:
    (tmp_path / "theirs").mkdir()
    study_by_hand("one", database(tmp_path / "theirs"))
    url = make(tmp_path / "theirs" / "optuna.db", f"UPDATE alembic_version SET version_num = '{version}'")
    assert_refused(uses_for_optuna, url, rf"'{version}', but the installed Optuna \S+ needs 'v.*{remedy}")


@pytest.mark.parametrize("content", [*FOREIGN, "of Optuna"])
def test_another_programs_database_is_refused_as_mlflows(content: str, uses_for_mlflow: Uses, tmp_path: Path) -> None:
    file = tmp_path / "theirs" / "mlflow.db"
    url = make(file, *FOREIGN.get(content, ()))
    if content == "of Optuna":
        study_by_hand("one", url)
    assert_refused(uses_for_mlflow, url, "(is Optuna's database|has tables of another program).* Give MLflow's own")


@pytest.mark.parametrize(("version", "remedy"), [("cbc13b556ace", "mlflow db upgrade sqlite"), ("f", "pip install")])
def test_another_version_of_mlflows_database_is_refused_with_both_versions(
    version: str, remedy: str, uses_for_mlflow: Uses, tmp_path: Path
) -> None:
    kept = ("CREATE TABLE something (more TEXT)", ALEMBIC, f"INSERT INTO alembic_version VALUES ('{version}')")
    url = make(tmp_path / "theirs" / "mlflow.db", *MLFLOW_TABLES, *kept)
    assert_refused(uses_for_mlflow, url, rf"'{version}', but the installed MLflow \S+ needs '.*{remedy}")


def test_one_database_for_optuna_and_mlflow_is_refused(search: ResolvedSearch, tmp_path: Path) -> None:
    both = changed(search, storage=f"sqlite:///{tmp_path}/a.db", tracking=f"sqlite:///{tmp_path}/runs/../a.db")
    with pytest.raises(Error, match=r"a\.db is Optuna's database\. Give MLflow's own"), opened_study(both):
        pass
    assert not (tmp_path / "a.db").exists()
    server = "postgresql+psycopg://me@host/db"
    assert are_same_database(server, "postgresql://you@host:5432/db")
    assert not are_same_database(server, "postgresql://me@host/other")
    assert not are_same_database(server, f"sqlite:///{tmp_path}/db")


def test_a_database_that_is_empty_or_half_made_gets_its_tables(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    urls = [
        f"sqlite:///{tmp_path}/empty.db",
        make(tmp_path / "dropped.db", "CREATE TABLE a (b TEXT)", "DROP TABLE a"),
        make(tmp_path / "half.db", "CREATE TABLE studies (study_id INTEGER NOT NULL PRIMARY KEY, study_name TEXT)"),
    ]
    for url in urls:
        assert not recognize(url, OPTUNA)
        open_storage(url)
        assert recognize(url, OPTUNA)


def test_what_a_killed_program_wrote_ahead_is_read(tmp_path: Path) -> None:
    url = make(tmp_path / "a.db", "PRAGMA journal_mode = WAL")
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        connection.execute("CREATE TABLE theirs (name TEXT)")  # only in a.db-wal yet
        connection.commit()
        with pytest.raises(Error, match="has tables of another program, such as theirs"):
            open_storage(url)


def test_the_versions_are_those_that_alembic_reads() -> None:
    for library, module in ((OPTUNA, optuna), (MLFLOW, mlflow)):
        folder = Path(module.__file__).parent / library.migrations
        revisions = list(alembic.script.ScriptDirectory(str(folder.parent)).walk_revisions())
        assert library.newest == revisions[0].revision
        assert set(library.revisions) == {one.revision for one in revisions}


@pytest.mark.slow
def test_databases_of_a_server_are_recognized_as_files_are(search: ResolvedSearch) -> None:
    with running_server() as server:
        for name, statements in (FOREIGN | OF_MLFLOW).items():
            url = server.new_database(name)
            for statement in statements:
                if not statement.startswith("PRAGMA"):
                    server.sql(statement, name)
            before = server.sql(r"\d", name)
            for use in (open_storage, lambda url: studies.main(["list", "--storage", url])):
                with pytest.raises(Error, match=r"(is MLflow's database|has tables of another program).* --storage"):
                    use(url)
            assert server.sql(r"\d", name) == before
        url = server.new_database("optuna")
        open_storage(url).engine.dispose()
        with pytest.raises(Error, match="is Optuna's database"), opened_study(changed(search, tracking=url)):
            pass
        for version, remedy in (("v3.0.0.a", "optuna storage upgrade"), ("v9.0.0.a", "pip install --upgrade optuna")):
            server.sql(f"UPDATE alembic_version SET version_num = '{version}'", "optuna")
            with pytest.raises(Error, match=rf"'{version}', but the installed Optuna .*{remedy}"):
                open_storage(url)
