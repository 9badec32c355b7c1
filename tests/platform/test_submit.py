"""What is found out about a submission before anything is sent: its name, and what would be lost with the job."""

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray.job_submission import JobStatus

from platform.jobs import checked_search, connect, free_name, job_name
from platform.submit import main
from shards_tools.errors import Error

RUNS = ["--runs", "/shared/runs"]


class Jobs:
    """What a cluster says of its jobs."""

    def __init__(self, **statuses: JobStatus) -> None:
        self.jobs = [SimpleNamespace(submission_id=name, status=status) for name, status in statuses.items()]

    def list_jobs(self) -> list[SimpleNamespace]:
        return self.jobs


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--space", "transreid"], "--runs runs"),
        (["--space", "transreid", "--runs", "here"], "--runs here"),
        (["--space", "transreid", *RUNS, "--data", "shards/lsasrd"], "--data shards/lsasrd"),
        (["--space", "transreid", *RUNS, "--storage", "sqlite:///optuna.db"], "--storage sqlite:///optuna.db"),
        (["--space", "transreid", *RUNS, "--tracking", "sqlite:///mlflow.db"], "--tracking sqlite:///mlflow.db"),
        (["--space", "transreid", *RUNS, "--address", "head:6379"], "--address head:6379"),
        (["--space", "nowhere.py", *RUNS], "nowhere.py does not exist here"),
        (["--space", "transreid", *RUNS, "--trails", "3"], "--trails"),
    ],
)
def test_what_would_be_lost_with_the_job_is_named(words: list[str], named: str) -> None:
    with pytest.raises(Error, match=named):
        checked_search(words)


@pytest.mark.parametrize(
    ("option", "address", "shown"),
    [
        ("--storage", "postgresql+psycopg://me:geheim@host/name", "postgresql+psycopg://me:***@host/name"),
        ("--tracking", "http://me:geheim@host:5000", "http://me:***@host:5000"),
        ("--tracking", "postgresql://me@host/name?sslpassword=geheim", "sslpassword=***"),
    ],
)
def test_a_password_is_not_sent_with_a_job_whose_command_everybody_sees(option: str, address: str, shown: str) -> None:
    with pytest.raises(Error) as refused:
        checked_search(["--space", "transreid", *RUNS, option, address])
    assert shown in str(refused.value)
    assert "PGPASSWORD" in str(refused.value)
    assert "geheim" not in str(refused.value)


def test_what_lies_on_the_cluster_is_taken(small_space: Path) -> None:
    words = ["--space", str(small_space), *RUNS, "--data", "s3://bucket/lsasrd", "--storage", "sqlite:////shared/o.db"]
    assert checked_search(words).data == "s3://bucket/lsasrd"


def test_a_job_has_the_name_of_its_study_or_one_that_the_same_search_gives_again() -> None:
    assert job_name(checked_search(["--space", "transreid", *RUNS, "--study", "mine"])) == "mine"
    names = [
        job_name(checked_search(["--space", space, *RUNS, "--data", data, "--trials", trials]))
        for space, data, trials in [
            ("agw", "/a", "3"),
            ("agw", "/a", "60"),
            ("agw", "/b", "3"),
            ("transreid", "/a", "3"),
        ]
    ]
    assert names[0] == names[1]
    assert len(set(names)) == 3
    assert names[0].startswith("agw-")


def test_a_job_that_has_ended_leaves_its_name_with_a_number_to_the_next() -> None:
    assert free_name(Jobs(), "mine") == "mine"
    assert free_name(Jobs(mine=JobStatus.SUCCEEDED, other=JobStatus.RUNNING), "mine") == "mine-2"
    assert free_name(Jobs(**{"mine": JobStatus.FAILED, "mine-2": JobStatus.STOPPED}), "mine") == "mine-3"
    with pytest.raises(Error, match="Job mine-2 is running"):
        free_name(Jobs(**{"mine": JobStatus.FAILED, "mine-2": JobStatus.RUNNING}), "mine")


@pytest.mark.parametrize(
    "words", [[], ["--status", "a", "--stop", "a"], ["--stop", "a", "--", "--space", "agw", *RUNS]]
)
def test_one_thing_is_asked_at_a_time(words: list[str]) -> None:
    with pytest.raises(Error, match="either a search after --"):
        main(["--address", "http://127.0.0.1:1", *words])


@pytest.fixture
def answering() -> Iterator[dict[str, str]]:
    """A server on this machine that answers with `body`; its `url` is filled in."""
    said = {"body": "{}"}

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(said["body"].encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        said["url"] = f"http://127.0.0.1:{server.server_port}"
        yield said
        server.shutdown()


def test_who_is_no_dashboard_is_told_from_one_without_tokens(
    answering: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(Error, match="another server answers"):
        connect(answering["url"])
    answering["body"] = '{"ray_version": "2.60.0"}'
    with pytest.raises(Error, match="runs without tokens"):
        connect(answering["url"])


def test_nobody_there_is_said_at_once() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(Error, match=f"No Ray dashboard answers at {url}"):
            connect(url)
