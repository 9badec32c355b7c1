"""A Ray cluster of two nodes in a network and among processes of its own: nothing of it is seen or left outside."""

import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.cluster.namespaces import entering, members_of, names_of, namespace, search_path
from tests.platform.conftest import SMALL_SPACE

ROOT = Path(__file__).resolve().parents[2]
HEAD, WORKER = "10.99.0.1", "10.99.0.2"
# The worker sees another disk where the head has the folder `own`, and hands out hardly any memory where that is asked.
NODES = """
set -e
ip link set lo up
ip address add {head}/32 dev lo
ip address add {worker}/32 dev lo
node="ray start --num-cpus=1 --num-gpus=0 --object-store-memory=100000000"
$node --head --node-ip-address={head} --port=6379 --dashboard-host={head} --temp-dir={short}/1
unshare --mount sh -c 'mount -t tmpfs tmpfs {folder}/own && exec "$@"' sh \\
    $node --memory=100000000 --address={head}:6379 --node-ip-address={worker} --temp-dir={short}/2
echo both nodes are up
exec sleep infinity
"""


@dataclass
class Cluster:
    """Two nodes of one CPU each, and the folders and the token that they have in common."""

    process: subprocess.Popen[bytes]  # whose end is that of every process in the namespace
    folder: Path  # seen by both nodes, but for `own`
    temp: Path  # of Ray
    token: str
    environment: dict[str, str]

    @property
    def address(self) -> str:
        """Of the head."""
        return f"{HEAD}:6379"

    @property
    def url(self) -> str:
        """Of the dashboard."""
        return f"http://{HEAD}:8265"

    def family(self) -> list[psutil.Process]:
        """Every process of the namespace."""
        return members_of(self.process)

    def command_lines(self) -> list[str]:
        """Of every process of the namespace."""
        return [names_of(process) for process in self.family()]

    def training_nodes(self) -> set[str]:
        """The addresses of the nodes where something trains at this moment."""
        found = set()
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                if "train" in process.name():
                    parents = " ".join(names_of(parent) for parent in process.parents())
                    found |= {node for node in (HEAD, WORKER) if f"--node_ip_address={node}" in parents}
        return found

    def commands_of(self, process: subprocess.Popen[str]) -> list[psutil.Process]:
        """What a process that was started inside has become there."""
        return psutil.Process(process.pid).children()

    def inside(self, *words: object) -> list[str]:
        """The command line of a command that runs in the namespace."""
        return [*entering(self.process), *map(str, words)]

    def start(self, *words: object, **variables: str) -> subprocess.Popen[str]:
        """A command of ours, `platform.search` say, or a script, that runs in the namespace."""
        command = self.inside(sys.executable, *([] if isinstance(words[0], Path) else ["-m"]), *words)
        environment = {**self.environment, **variables}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *words: object, expect: int = 0, **variables: str) -> tuple[str, str]:
        """Run one to its end: what it printed, and what people read."""
        process = self.start(*words, **variables)
        out, screen = process.communicate(timeout=400)
        assert process.returncode == expect, out + screen
        assert self.token not in out + screen
        return out, screen


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster; at its end no process of the namespace is left."""
    folder = tmp_path_factory.mktemp("cluster")
    for name in ("own", "home/.ray", "cache"):
        (folder / name).mkdir(parents=True)
    token = secrets.token_hex(32)
    (folder / "home/.ray/auth_token").write_text(token)
    (folder / "small.py").write_text(SMALL_SPACE)
    unset = {name for name in os.environ if name.startswith("RAY_")}
    environment = {name: value for name, value in os.environ.items() if name not in unset} | {
        "HOME": str(folder / "home"),
        "PATH": search_path(),
        "PYTHONPATH": str(ROOT),
        "SAKUGA_CACHE": str(folder / "cache"),
    }
    # Ray's sockets lie under its folder, and the path of a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ray-") as short:
        script = NODES.format(head=HEAD, worker=WORKER, short=short, folder=folder)
        nodes = {name: value for name, value in environment.items() if name != "PYTHONPATH"}
        nodes |= {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
        with namespace(script, "both nodes are up", folder, nodes) as process:
            yield Cluster(process, folder, Path(short), token, environment)


@pytest.fixture
def search(cluster: Cluster, shards: Path) -> list[object]:
    """The options of a small search on the cluster, but for `--runs` and `--trials`."""
    return ["--space", cluster.folder / "small.py", "--data", shards, "--epochs", 2, "--json"]
