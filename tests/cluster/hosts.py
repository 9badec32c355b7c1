"""Hosts with addresses of their own, joined by a bridge, in a network and among processes of nobody else's.

Services, and the user who submits a search, have the bridge's own address.
"""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.cluster.conftest import ROOT
from tests.cluster.namespaces import entering, members_of, members_of_network, namespace, search_path

HOSTS = {"head": "10.98.0.1", "one": "10.98.0.2", "two": "10.98.0.3"}
SERVICES = "10.98.0.254"
BUCKET_PORT = 9000
NETWORK = """
set -e
ip link set lo up
mkdir -p /run/netns
mount -t tmpfs tmpfs /run/netns
ip link add bridge type bridge
ip address add {services}/24 dev bridge
ip link set bridge up
join() {{
    ip netns add $1
    ip link add to-$1 type veth peer name eth0 netns $1
    ip link set to-$1 master bridge up
    ip -n $1 link set lo up
    ip -n $1 address add $2/24 dev eth0
    ip -n $1 link set eth0 up
    ip -n $1 route add default via {services}
}}
{joins}
echo all hosts are joined
exec sleep infinity
"""
PROBE = "ip link add bridge type bridge; ip link add one type veth peer name other"
# A node that does not answer counts as dead after a few seconds and not after half a minute.
IMPATIENT = {
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "5",
}


class Hosts:
    """Three machines, the first of them the head of a Ray cluster, with a CPU each."""

    def __init__(self, folder: Path, short: Path, network: "subprocess.Popen[bytes]") -> None:
        self.folder = folder  # that all hosts share
        self._short = short  # of Ray's sockets
        self._network = network
        self.token = secrets.token_hex(32)
        (folder / "home/.ray").mkdir(parents=True)
        (folder / "home/.ray/auth_token").write_text(self.token)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "AWS_"))}
        self.environment = kept | {
            "HOME": str(folder / "home"),
            "RAY_AUTH_MODE": "token",
            "PATH": search_path(),
            "AWS_ACCESS_KEY_ID": "someone",
            "AWS_SECRET_ACCESS_KEY": "geheim",
            "AWS_ENDPOINT_URL": f"http://{SERVICES}:{BUCKET_PORT}",
        }

    def enter(self, host: str = "") -> list[str]:
        """What a command line begins with that runs on a host, or where the services are."""
        into = entering(self._network)
        return [*into, "ip", "netns", "exec", host] if host else into

    @property
    def beside(self) -> list[str]:
        """The same for a service, which is among the processes of the tests: it can be ended by its own id."""
        return ["nsenter", "--target", str(self._network.pid), "--net"]

    def call(self, *words: str, host: str = "") -> str:
        """What a command says that must succeed."""
        command = [*self.enter(host), *words]
        ran = subprocess.run(command, env=self.environment, check=False, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def start(self, *words: object) -> "subprocess.Popen[str]":
        """A command of ours, `platform.submit` say, beside the services."""
        command = [*self.enter(), sys.executable, "-m", *map(str, words)]
        environment = self.environment | {"PYTHONPATH": str(ROOT), "SAKUGA_CACHE": str(self.folder / "cache-outside")}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )

    def run(self, *words: object, expect: int = 0, timeout_s: float = 900) -> tuple[str, str]:
        """Run one to its end: what it printed, and what people read."""
        process = self.start(*words)
        out, screen = process.communicate(timeout=timeout_s)
        assert process.returncode == expect, out + screen
        return out, screen

    def start_node(self, host: str) -> None:
        """Let a host be a node of the cluster."""
        address = HOSTS[host]
        words = ["--head", "--port=6379", f"--dashboard-host={address}"]
        if host != "head":
            words = [f"--address={HOSTS['head']}:6379"]
        words += [f"--node-ip-address={address}", "--num-cpus=1", "--num-gpus=0", "--object-store-memory=100000000"]
        own = {"SAKUGA_CACHE": str(self.folder / f"cache-{host}"), **IMPATIENT}
        command = [*self.enter(host), "ray", "start", *words, f"--temp-dir={self._short / host}"]
        ran = subprocess.run(
            command,
            env=self.environment | own | {"RAY_USAGE_STATS_ENABLED": "0"},
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=180,
        )
        assert ran.returncode == 0, ran.stdout

    def power_off(self, host: str) -> None:
        """End every process of a host at once, and forget what it had in memory and in its temporary folder."""
        for process in self.processes_of(host):
            process.kill()
        shutil.rmtree(self._short / host, ignore_errors=True)

    def cut(self, host: str) -> None:
        """Let nothing reach a host, nor it anything."""
        self.call("ip", "link", "set", f"to-{host}", "down")

    def mend(self, host: str) -> None:
        """Undo `cut`."""
        self.call("ip", "link", "set", f"to-{host}", "up")

    def processes_of(self, host: str) -> list[psutil.Process]:
        """Of a host, by the network that they are in."""
        network = self.call("stat", "-Lc", "%i", "/run/netns/" + host).strip()
        return members_of_network(self._network, network)

    def family(self) -> list[psutil.Process]:
        """Every process on every host and beside them, those that entered later included."""
        return members_of(self._network)

    @property
    def url(self) -> str:
        """Of the dashboard."""
        return f"http://{HOSTS['head']}:8265"


@contextmanager
def joined_hosts(folder: Path, short: Path) -> Iterator[Hosts]:
    """The hosts, without any node yet; at their end no process of theirs is left."""
    joins = "\n".join(f"join {name} {address}" for name, address in HOSTS.items())
    script = NETWORK.format(services=SERVICES, joins=joins)
    with namespace(script, "all hosts are joined", folder, os.environ, probe=PROBE) as network:
        yield Hosts(folder, short, network)
