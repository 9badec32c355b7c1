"""A search that joins a cluster of somebody else's: it uses all of it, and leaves it as it was."""

import json
import time
from pathlib import Path

import psutil
import pytest

from tests.cluster.conftest import HEAD, WORKER, Cluster
from tests.cluster.namespaces import names_of

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def test_a_search_trains_on_every_node_and_leaves_the_cluster_running(cluster: Cluster, search: list[object]) -> None:
    before = {process for process in cluster.family() if "/ray/core/src/ray/" in names_of(process)}
    assert len(before) == 3, "a head's server and two raylets"
    options = [*search, "--runs", cluster.folder / "joined", "--trials", 4, "--address", cluster.address]
    process = cluster.start("platform.search", *options)
    nodes: set[str] = set()
    while process.poll() is None:
        nodes |= cluster.training_nodes()
        for member in cluster.family():
            assert cluster.token not in names_of(member)
        time.sleep(0.05)
    out, screen = process.communicate()
    assert process.returncode == 0, out + screen
    assert "2 at a time" in screen
    assert json.loads(out.splitlines()[-1])["trials"]["complete"] >= 1
    assert sum(json.loads(out.splitlines()[-1])["trials"].values()) == 4
    assert nodes == {HEAD, WORKER}
    assert all(process.is_running() for process in before)


def test_auto_asks_the_nodes_what_they_have_and_remembers_what_a_trial_takes(
    cluster: Cluster, search: list[object]
) -> None:
    """The worker hands out less memory than a trial takes, so that one runs at a time, on the head."""
    options = [*search, "--runs", cluster.folder / "auto", "--address", cluster.address, "--concurrency", "auto"]
    out, screen = cluster.run("platform.search", *options, "--trials", 1, "--dry-run")
    assert json.loads(out.splitlines()[-1])["concurrency"] == 1
    assert not (cluster.folder / "auto").exists()
    process = cluster.start("platform.search", *options, "--trials", 2)
    nodes: set[str] = set()
    while process.poll() is None:
        nodes |= cluster.training_nodes()
        time.sleep(0.05)
    out, screen = process.communicate()
    assert process.returncode == 0, out + screen
    assert "Measuring a step" in screen
    assert "1 at a time (CPUs allow 2, memory " in screen
    assert nodes == {HEAD}
    _, screen = cluster.run("platform.search", *options, "--trials", 3)
    assert "Measuring a step" not in screen
    assert "1 at a time (CPUs allow 2, memory " in screen


def test_the_nodes_run_the_package_of_the_driver(cluster: Cluster) -> None:
    script = cluster.folder / "where.py"
    script.write_text(
        "import ray\n"
        "from platform.cluster.connect import joined\n"
        f"with joined('{cluster.address}'):\n"
        "    @ray.remote\n"
        "    def where():\n"
        "        import trainables, platform.runner\n"
        "        return trainables.__file__, platform.runner.__file__\n"
        "    print(*ray.get(where.options(resources={'node:%s': 0.01}).remote()))\n" % WORKER
    )
    out, _ = cluster.run(script)
    trainables, runner = map(Path, out.split()[-2:])
    assert "working_dir" in str(trainables)
    assert trainables.parents[1] == runner.parents[1]


def test_a_task_that_is_killed_is_told_with_its_node(cluster: Cluster) -> None:
    script = cluster.folder / "killed.py"
    script.write_text(
        "import os, ray\n"
        "from platform.cluster.connect import joined\n"
        "from platform.cluster.nodes import answer, ask\n"
        "from shards_tools.command import run\n"
        "def main(_):\n"
        f"    with joined('{cluster.address}'):\n"
        f"        there = next(node for node in ray.nodes() if node['NodeManagerAddress'] == '{WORKER}')\n"
        "        answer('of this test', ask(there['NodeID'], lambda: os.abort()))\n"
        "run(main)\n"
    )
    _, screen = cluster.run(script, expect=2)
    assert "error: A process of this search on node of this test was killed. Its memory may be full: " in screen


@pytest.mark.parametrize("what", ["runs", "shards"])
def test_a_folder_that_another_node_does_not_share_is_named(
    cluster: Cluster, search: list[object], what: str, shards: Path
) -> None:
    own = cluster.folder / "own"
    options = [*search, "--trials", 2, "--address", cluster.address]
    if what == "runs":
        options += ["--runs", own / "runs"]
    else:
        (own / "shards").symlink_to(shards)
        options += ["--runs", cluster.folder / "unshared", "--data", own / "shards"]
    _, screen = cluster.run("platform.search", *options, expect=2)
    assert str(own) in screen
    assert WORKER in screen
    assert len([line for line in screen.splitlines() if line.startswith("error: ")]) == 1
    assert "Traceback" not in screen
    assert not (own / "runs").exists()
    assert not list(cluster.folder.glob("**/.shared-*"))


@pytest.mark.parametrize(
    ("address", "variables", "said"),
    [
        (f"{HEAD}:7777", {}, "No Ray head answers at"),
        (f"{HEAD}:8265", {}, "No Ray head answers at"),
        (f"http://{HEAD}:8265", {}, "use python -m platform.submit"),
        (f"{HEAD}:6379", {"HOME": "/nonexistent"}, "needs a token"),
        (f"{HEAD}:6379", {"RAY_AUTH_TOKEN": "0123456789abcdef" * 4}, "rejects this token"),
    ],
)
def test_what_cannot_be_joined_is_one_line_and_no_wait(
    cluster: Cluster, search: list[object], address: str, variables: dict[str, str], said: str
) -> None:
    words = [*search, "--runs", cluster.folder / "never", "--address", address]
    _, screen = cluster.run("platform.search", *words, expect=2, **variables)
    assert said in screen
    assert len(screen.splitlines()) == 1
    assert not (cluster.folder / "never").exists()


def test_a_cluster_without_tokens_is_refused_unless_told(cluster: Cluster, search: list[object]) -> None:
    third = "10.99.0.3"
    start = (
        f"ip address add {third}/32 dev lo && exec ray start --head --node-ip-address={third} --port=6380 --num-cpus=1"
        f" --include-dashboard=false --object-store-memory=100000000 --temp-dir={cluster.temp}/3"
    )
    words = cluster.inside("sh", "-c", start)
    psutil.Popen(words, env={**cluster.environment, "RAY_AUTH_MODE": "disabled"}).wait(120)
    options = [*search, "--runs", cluster.folder / "open", "--trials", 1, "--address", f"{third}:6380"]
    _, screen = cluster.run("platform.search", *options, expect=2)
    assert "runs without tokens" in screen
    assert len(screen.splitlines()) == 1
    out, _ = cluster.run("platform.search", *options, RAY_AUTH_MODE="disabled")
    assert json.loads(out.splitlines()[-1])["trials"]["complete"] == 1
