"""A search that is submitted from outside: it runs as a job, whose output and exit code come back."""

import json
import signal
import time

import pytest

from tests.cluster.conftest import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def test_a_submitted_search_shows_its_output_and_a_second_one_gets_a_name_of_its_own(
    cluster: Cluster, search: list[object]
) -> None:
    words = ["platform.submit", "--address", cluster.url]
    options = ["--", *search, "--runs", cluster.folder / "submitted", "--study", "first", "--trials", 2]
    out, screen = cluster.run(*words, *options)
    summary = json.loads(out.splitlines()[-1])
    assert (summary["study"], sum(summary["trials"].values())) == ("first", 2)
    assert "Job first was submitted" in screen
    out, _ = cluster.run(*words, "--no-wait", *options)
    assert out == "first-2\n"
    out, _ = cluster.run(*words, "--follow", "first-2")
    assert json.loads(out.splitlines()[-1]) == {**summary, "seconds": pytest.approx(0, abs=400)}
    out, _ = cluster.run(*words, "--status", "first")
    assert out == "first SUCCEEDED\n"
    written = [path for place in (cluster.temp, cluster.folder / "submitted") for path in place.glob("**/*")]
    looked_at = [path for path in written if path.is_file() and not path.is_symlink()]
    assert any("job-driver-first" in path.name for path in looked_at)
    assert not [path for path in looked_at if cluster.token.encode() in path.read_bytes()]


def test_ctrl_c_leaves_the_job_running_until_it_is_stopped(cluster: Cluster, search: list[object]) -> None:
    words = ["platform.submit", "--address", cluster.url]
    options = ["--", *search, "--runs", cluster.folder / "stopped", "--study", "long", "--trials", 500]
    submission = cluster.start(*words, *options)
    assert submission.stdout is not None
    while "epoch" not in (line := submission.stdout.readline()):
        assert line, "the job ended"
    # The command runs as a child of the process that entered the namespace.
    (command,) = cluster.commands_of(submission)
    command.send_signal(signal.SIGINT)
    _, screen = submission.communicate(timeout=60)
    assert submission.returncode == 130
    assert "Job long keeps running" in screen
    _, screen = cluster.run(*words, *options, expect=2)
    assert "Job long is running" in screen
    out, _ = cluster.run(*words, "--stop", "long")
    assert out.startswith("long STOPPED")
    deadline = time.monotonic() + 60
    while any("platform.search" in line for line in cluster.command_lines()):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_the_exit_code_is_that_of_the_job(cluster: Cluster, search: list[object]) -> None:
    options = ["--", *search, "--runs", cluster.folder / "wrong", "--warm-start", "nowhere"]
    out, screen = cluster.run("platform.submit", "--address", cluster.url, *options, expect=2)
    assert "error: " in out.splitlines()[-1]
    assert "FAILED" in screen


@pytest.mark.parametrize(
    ("url", "variables", "said"),
    [
        ("http://10.99.0.1:8266", {}, "No Ray dashboard answers"),
        ("http://10.99.0.1:8265", {"HOME": "/nonexistent"}, "needs a token"),
        ("http://10.99.0.1:8265", {"RAY_AUTH_TOKEN": "0123456789abcdef" * 4}, "rejects this token"),
    ],
)
def test_a_cluster_that_cannot_be_asked_is_one_line(
    cluster: Cluster, url: str, variables: dict[str, str], said: str
) -> None:
    _, screen = cluster.run("platform.submit", "--address", url, "--status", "first", expect=2, **variables)
    assert said in screen
    assert len(screen.splitlines()) == 1
