"""A search that is submitted to the hosts, and what it must leave behind."""

import json
import subprocess
from typing import Any

import psutil

from tests.cluster.hosts import HOSTS, Hosts
from tests.cluster.namespaces import names_of
from tests.cluster.services import Services
from tests.platform.conftest import RANKS_SPACE
from tests.platform.driver import wait_until


class Search:
    """One that is submitted from beside the services, with a database of its own."""

    def __init__(
        self, hosts: Hosts, services: Services, study: str, num_trials: int, *more: object, space: str = RANKS_SPACE
    ) -> None:
        (hosts.folder / "space.py").write_text(space % 512)
        self.hosts, self.study, self._num_trials = hosts, study, num_trials
        self.storage, self._tracking = services.postgres.new_database(study), services.mlflow.uri
        self.runs = hosts.folder / "runs"
        own = ["--space", hosts.folder / "space.py", "--runs", self.runs, "--scale", "tiny", "--pruner", "none"]
        stores = ["--storage", self.storage, "--tracking", self._tracking, "--study", study, "--json"]
        search = [*own, *stores, "--trials", num_trials, *more]
        self.words = ["platform.submit", "--address", hosts.url, "--", *search]

    def start(self) -> "subprocess.Popen[str]":
        """Submit it, and follow it."""
        return self.hosts.start(*self.words)

    def end(self, submitted: "subprocess.Popen[str]") -> list[dict[str, Any]]:
        """Wait for its end; its trials, of which each stands once in every store, and nothing is left of them."""
        out, screen = submitted.communicate(timeout=900)
        assert submitted.returncode == 0, out + screen
        assert self.hosts.token not in out + screen
        # What Ray says while a job ends may stand behind it.
        summary = next(line for line in reversed(out.splitlines()) if line.startswith('{"study"'))
        head = f"{HOSTS['head']}:6379"
        asked = ("tests.cluster.accounting", self.storage, self._tracking, self._num_trials, head, len(HOSTS))
        accounting = self.hosts.start(*asked)
        out, screen = accounting.communicate(summary, timeout=300)
        assert accounting.returncode == 0, out + screen
        wait_until(lambda: not any(trains(member) for member in self.hosts.family()), 60, "the end of every training")
        trials: list[dict[str, Any]] = json.loads(out.splitlines()[-1])
        return trials


def trains(process: psutil.Process) -> bool:
    """Whether it is the process of a trial or of a rank."""
    name = names_of(process)
    return name.startswith("ray::") and ("train" in name or "run_rank" in name)
