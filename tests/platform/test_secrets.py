"""The passwords of a search's stores appear nowhere but in the command that the user typed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from sqlalchemy.engine import make_url

from tests.platform.driver import ROOT, command, run_search, started_search, wait_until
from tests.platform.mlflow_server import MlflowServer
from tests.platform.postgres import binaries, running_server
from tests.s3_server import opened_bucket

pytestmark = pytest.mark.slow

SECRET = "Gah3-imWald-bei-Nacht"


def with_password(url: str, form: str) -> str:
    """The URL with the password in one of two forms; the server asks for none and ignores it."""
    if form == "user":
        return make_url(url).set(password=SECRET).render_as_string(hide_password=False)
    return f"{url}?password={SECRET}"


def files_with_secret(folder: Path, secret: str = SECRET) -> list[Path]:
    """The files below a folder that hold the password."""
    return [file for file in folder.rglob("*") if file.is_file() and secret.encode() in file.read_bytes()]


def commands_with_secret(typed: int) -> list[list[str]]:
    """The command lines that hold the password, without that of the process which the user started."""
    found = []
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
        except psutil.Error:
            continue
        if process.pid != typed and any(SECRET in word for word in line):
            found.append(line)
    return found


@pytest.mark.parametrize("form", ["user", "parameter"])
def test_a_search_whose_servers_answer_shows_no_password(
    form: str, small_space: Path, shards: Path, tmp_path: Path
) -> None:
    pg_dump = (binaries() or pytest.skip("PostgreSQL's programs are not installed")) / "pg_dump"
    with running_server() as server:
        storage = with_password(server.new_database("optuna"), form)
        tracking = with_password(server.new_database("mlflow"), form)
        runs = tmp_path / "runs"
        words = ["--space", small_space, "--data", shards, "--runs", runs, "--storage", storage, "--tracking", tracking]
        with started_search(*words, "--trials", 2, "--concurrency", 1) as search:
            wait_until(lambda: any(runs.glob("*/start-001/trial-*")), 240, "the first trial")
            lines = commands_with_secret(search.pid)
            out, screen = search.communicate(timeout=600)
        assert search.returncode == 0, screen
        assert lines == []
        assert SECRET not in out + screen
        dry = subprocess.run([*command(*words), "--dry-run"], cwd=ROOT, capture_output=True, text=True, timeout=300)
        (journal,) = runs.glob("*/journal.jsonl")
        report = [sys.executable, "-m", "platform.report", journal.parent.name, "--runs", str(runs)]
        report += ["--storage", storage, "--out", str(tmp_path / "report")]
        made = subprocess.run(report, cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert (dry.returncode, made.returncode) == (0, 0), dry.stderr + made.stderr
        assert SECRET not in dry.stdout + dry.stderr + made.stdout + made.stderr
        for database in (storage, tracking):
            address = make_url(database).set(drivername="postgresql").render_as_string(hide_password=False)
            text = subprocess.run([pg_dump, address], capture_output=True, text=True, check=True).stdout
            assert "COPY public." in text
            assert SECRET not in text
        assert files_with_secret(tmp_path) == []


@pytest.fixture
def tracking(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowServer]:
    """An MLflow server with an account."""
    pytest.importorskip("flask_wtf", reason="mlflow[auth] is not installed")
    folder = tmp_path_factory.mktemp("accounts")
    (folder / "auth.ini").write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/auth.db\n"
        f"admin_username = admin\nadmin_password = {SECRET}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_FLASK_SERVER_SECRET_KEY", "of the test")
        patch.setenv("MLFLOW_AUTH_CONFIG_PATH", str(folder / "auth.ini"))
        server_folder = tmp_path_factory.mktemp("server")
        server = MlflowServer(server_folder, options=("--app-name", "basic-auth"))
        server.start()
    yield server
    server.kill()
    assert files_with_secret(server_folder) == []


def test_a_search_whose_servers_ask_for_passwords_shows_none(
    tracking: MlflowServer, small_space: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened_bucket(tmp_path, monkeypatch) as bucket:
        place = tracking.uri.replace("//", f"//admin:{SECRET}@")
        words = ["--space", small_space, "--data", shards, "--runs", tmp_path / "runs", "--tracking", place]
        words += ["--checkpoints", "s3://bucket/kept", "--trials", 2, "--concurrency", 1]
        with started_search(*words) as search:
            kept = partial(bucket.folder.rglob, "checkpoint.json")
            wait_until(lambda: any(kept()) or search.poll() is not None, 400, "the first checkpoint")
            lines = commands_with_secret(search.pid)
            out, screen = search.communicate(timeout=600)
        assert search.returncode == 0, screen
        assert lines == []
        summary, again = run_search(*words)  # sends what MLflow still lacks
        assert summary["tracking"] == "ok"
        for secret in (SECRET, bucket.environment["AWS_SECRET_ACCESS_KEY"]):
            assert secret not in out + screen + again
            assert files_with_secret(tmp_path, secret) == []


@pytest.mark.parametrize(
    ("option", "address"),
    [
        ("--storage", f"postgresql+psycopg://me:{SECRET}@127.0.0.1:9/name?connect_timeout=1"),
        ("--storage", f"postgresql+psycopg2://me:{SECRET}@127.0.0.1:9/name"),
        ("--storage", f"mysql://me:{SECRET}@127.0.0.1:9/name"),
        ("--storage", f"postgresql+psycopg://me:a@{SECRET}@127.0.0.1:9/name"),
        ("--tracking", f"mysql://me:{SECRET}@127.0.0.1:9/name"),
        ("--tracking", f"http://me:{SECRET}@127.0.0.1:9"),
        ("--tracking", f"postgresql://me@127.0.0.1:9/name?sslpassword={SECRET}"),
        ("--data", f"https://me:{SECRET}@127.0.0.1:9/shards"),
        ("--data", f"https://127.0.0.1:9/shards?token={SECRET}"),
        ("--checkpoints", f"s3://me:{SECRET}@bucket/prefix"),
        ("--storge", f"postgresql+psycopg://me:{SECRET}@127.0.0.1:9/name"),
    ],
)
def test_a_dry_run_whose_servers_are_away_or_refused_shows_no_password(
    option: str, address: str, small_space: Path, shards: Path, tmp_path: Path
) -> None:
    given = {"--space": small_space, "--data": shards, "--runs": tmp_path / "runs", option: address}
    words = [*command(*(word for pair in given.items() for word in pair)), "--dry-run"]
    environment = {**os.environ, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment)
    assert SECRET not in done.stdout + done.stderr
    assert done.returncode == 2, done.stderr
    assert files_with_secret(tmp_path) == []
