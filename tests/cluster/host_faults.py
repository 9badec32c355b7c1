"""Faults of every kind that befall a search on three hosts: of hosts, raylets, ranks, stores, and of the network."""

import contextlib
import random
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

import psutil

from tests.cluster.hosts import HOSTS, Hosts
from tests.cluster.namespaces import names_of
from tests.cluster.services import Services
from tests.cluster.submitted import Search, trains

PATIENCE_S = 600
DEAD_AFTER_S = 20  # a host that is cut off counts as dead by then
SHORT_S = 2


class Storm:
    """A search that is submitted again whenever its head is lost, and the record of its faults."""

    def __init__(self, hosts: Hosts, services: Services, search: Search, seed: int) -> None:
        self.hosts, self.services, self.search = hosts, services, search
        self.random = random.Random(seed)
        self.num_submissions = 0
        self.submit()

    def submit(self) -> None:
        """Give the command, the first time or again."""
        self.num_submissions += 1
        self.submitted = self.search.start()

    def progress(self) -> int:
        """How many epochs Optuna's database holds."""
        with contextlib.suppress(subprocess.CalledProcessError):  # no table yet
            count = "SELECT count(*) FROM trial_intermediate_values"
            return int(self.services.postgres.sql(count, self.search.study))
        return 0

    def go_on(self) -> None:
        """Wait until Optuna knows of one more epoch."""
        before, deadline = self.progress(), time.monotonic() + PATIENCE_S
        while self.progress() == before:
            if self.submitted.poll() is not None:
                out, screen = self.submitted.communicate()
                raise AssertionError(f"the search has ended:\n{out}{screen}")
            assert time.monotonic() < deadline, f"nothing for {PATIENCE_S} s"
            time.sleep(0.2)

    def worker(self) -> str:
        """A host that is not the head."""
        return self.random.choice([host for host in HOSTS if host != "head"])

    def back(self, host: str) -> None:
        """Let a host that was lost be a node again."""
        self.hosts.power_off(host)
        self.hosts.start_node(host)


def switch_off(storm: Storm) -> None:
    host = storm.worker()
    storm.hosts.power_off(host)
    time.sleep(SHORT_S)
    storm.hosts.start_node(host)


def switch_off_the_head(storm: Storm) -> None:
    storm.hosts.power_off("head")
    storm.submitted.communicate(timeout=PATIENCE_S)
    for host in HOSTS:
        storm.back(host)
    storm.submit()


def cut_off(storm: Storm) -> None:
    host = storm.worker()
    storm.hosts.cut(host)
    time.sleep(DEAD_AFTER_S)
    storm.hosts.mend(host)
    storm.back(host)


def cut_off_for_a_moment(storm: Storm) -> None:
    host = storm.worker()
    storm.hosts.cut(host)
    time.sleep(SHORT_S)
    storm.hosts.mend(host)


def kill_raylet(storm: Storm) -> None:
    host = storm.worker()
    for process in storm.hosts.processes_of(host):
        if "/raylet/raylet" in names_of(process):
            process.kill()
    time.sleep(SHORT_S)
    storm.back(host)


def kill_a_rank(storm: Storm) -> None:
    ranks = [process for process in storm.hosts.family() if trains(process)]
    if ranks:
        with contextlib.suppress(psutil.NoSuchProcess):
            storm.random.choice(ranks).kill()


def restart_postgres(storm: Storm) -> None:
    storm.services.postgres.stop(storm.random.choice((signal.SIGINT, signal.SIGQUIT)))
    time.sleep(SHORT_S)
    storm.services.postgres.start()


def restart(service: str) -> Callable[[Storm], None]:
    """Kills a service, and starts it again after a moment."""

    def kill(storm: Storm) -> None:
        server: Any = getattr(storm.services, service)
        server.kill()
        time.sleep(SHORT_S)
        server.start()

    return kill


FAULTS: dict[str, Callable[[Storm], None]] = {
    "a host is switched off": switch_off,
    "the head is switched off": switch_off_the_head,
    "a host is cut off": cut_off,
    "a host is cut off for a moment": cut_off_for_a_moment,
    "a raylet is killed": kill_raylet,
    "a rank is killed": kill_a_rank,
    "PostgreSQL is restarted": restart_postgres,
    "MLflow's server is killed": restart("mlflow"),
    "the bucket's server is killed": restart("bucket"),
}


def rage(storm: Storm, num_faults: int) -> list[str]:
    """Inject `num_faults` faults, each kind equally often, each at least an epoch after the one before."""
    kinds: list[str] = []
    while len(kinds) < num_faults:
        kinds += storm.random.sample(list(FAULTS), len(FAULTS))
    for number, kind in enumerate(kinds[:num_faults], start=1):
        storm.go_on()
        print(f"fault {number:2} of {num_faults}, submission {storm.num_submissions}: {kind}", flush=True)
        FAULTS[kind](storm)
    storm.go_on()
    return kinds[:num_faults]
