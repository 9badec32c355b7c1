"""A search on three hosts, with its stores on a fourth: trials on every host, of one rank and of two."""

import os
import shutil
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from shards_tools.build import build
from shards_tools.sources.lsasrd import scan
from tests.cluster.host_faults import DEAD_AFTER_S, Storm, rage
from tests.cluster.hosts import HOSTS, Hosts, joined_hosts
from tests.cluster.services import Services, running_services
from tests.cluster.submitted import Search, trains
from tests.platform.conftest import RANKS_SPACE_WITH_SGD
from tests.platform.driver import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

REAL_DATA = os.environ.get("SAKUGA_REAL_DATA")
ROUNDING = 1e-3  # of mAP and loss
OMNIGLOT, SMALL = (["--data", f"s3://bucket/{name}"] for name in ("omniglot", "small"))
NUM_FAULTS = int(os.environ.get("SAKUGA_FAULTS", "30"))
SEED = int(os.environ.get("SAKUGA_FAULTS_SEED", "0"))


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    # Ray's sockets lie under its folder, and the path of a socket has at most 107 bytes.
    with (
        tempfile.TemporaryDirectory(prefix="hosts-", ignore_cleanup_errors=True) as short,
        joined_hosts(tmp_path_factory.mktemp("hosts"), Path(short)) as hosts,
    ):
        for host in HOSTS:
            hosts.start_node(host)
        yield hosts


@pytest.fixture(scope="module")
def services(hosts: Hosts, shards: Path) -> Iterator[Services]:
    """All of them; the bucket holds Omniglot, and a small drawn set."""
    if not REAL_DATA:
        pytest.skip("SAKUGA_REAL_DATA is not set: it names the folder of the real images")
    with running_services(hosts, hosts.folder / "services") as services:
        drawings = hosts.folder / "omniglot"
        with tarfile.open(Path(REAL_DATA) / "omniglot.tar") as tar:
            tar.extractall(drawings, filter="data")
        build(scan(drawings), services.bucket.folder / "bucket/omniglot")
        shutil.rmtree(drawings)
        shutil.copytree(shards, services.bucket.folder / "bucket/small")
        yield services


def training_hosts(hosts: Hosts) -> set[str]:
    """Where something trains at this moment."""
    return {host for host in HOSTS if any(trains(process) for process in hosts.processes_of(host))}


def test_trials_run_on_every_host_and_stream_from_the_bucket(hosts: Hosts, services: Services) -> None:
    search = Search(hosts, services, "streamed", 4, *OMNIGLOT, "--epochs", 2, "--reading", "stream")
    submitted = search.start()
    seen: set[str] = set()
    while submitted.poll() is None:
        seen |= training_hosts(hosts)
        time.sleep(0.5)
    trials = search.end(submitted)
    assert seen == set(HOSTS)
    assert len(trials) == 4
    assert all(trial["attempts"] == 1 for trial in trials)


def test_a_trial_of_two_ranks_on_two_hosts_finds_what_one_rank_finds(hosts: Hosts, services: Services) -> None:
    found = {}
    for num_ranks in (1, 2):
        options = [*OMNIGLOT, "--epochs", 2, "--ranks-per-trial", num_ranks, "--concurrency", 1, "--reading", "offset"]
        search = Search(hosts, services, f"ranks-{num_ranks}", 2, *options, space=RANKS_SPACE_WITH_SGD)
        submitted = search.start()
        most = 0
        while submitted.poll() is None:
            most = max(most, len(training_hosts(hosts)))
            time.sleep(0.5)
        found[num_ranks] = search.end(submitted)
        assert most == num_ranks
    for one, two in zip(found[1], found[2], strict=True):
        assert one["params"] == two["params"]
        assert two["values"] == pytest.approx(one["values"], abs=ROUNDING)
        assert two["metrics"]["loss"] == pytest.approx(one["metrics"]["loss"], rel=ROUNDING)


def first_checkpoint(search: Search, study: str) -> bool:
    return any(search.runs.glob(f"{study}/start-*/*/checkpoint_000000"))


@pytest.mark.parametrize("num_ranks", [1, 2])
def test_a_host_that_is_cut_off_costs_an_attempt(hosts: Hosts, services: Services, num_ranks: int) -> None:
    """Its trials go on elsewhere from their checkpoints; when it is back it is a node as before."""
    study = f"cut-{num_ranks}"
    search = Search(hosts, services, study, 3, *SMALL, "--epochs", 12, "--ranks-per-trial", num_ranks)
    submitted = search.start()
    wait_until(
        lambda: first_checkpoint(search, study) and "two" in training_hosts(hosts), 300, "a training on the host"
    )
    hosts.cut("two")
    time.sleep(DEAD_AFTER_S)
    hosts.mend("two")
    hosts.power_off("two")
    hosts.start_node("two")
    trials = search.end(submitted)
    assert max(trial["attempts"] for trial in trials) >= 2


def test_hosts_that_share_no_disk_go_on_from_the_bucket(hosts: Hosts, services: Services) -> None:
    """Of what lies under the runs nothing but the driver's own is written."""
    search = Search(hosts, services, "kept", 3, *SMALL, "--epochs", 12, "--checkpoints", "s3://bucket/kept")
    submitted = search.start()
    place = services.bucket.folder / "bucket/kept"
    wait_until(lambda: any(place.glob("*/*/*/*/checkpoint.json")) and "two" in training_hosts(hosts), 300, "a training")
    hosts.power_off("two")
    wait_until(lambda: "one" in training_hosts(hosts), 300, "a training on the other host")
    hosts.start_node("two")
    trials = search.end(submitted)
    assert max(trial["attempts"] for trial in trials) >= 2
    assert len(list(place.rglob("checkpoint.json"))) == len(trials)
    assert not [found for found in search.runs.glob("kept/**/checkpoint_*") if "artifacts" not in found.parts]


def test_a_search_whose_head_was_switched_off_goes_on_when_it_is_submitted_again(
    hosts: Hosts, services: Services
) -> None:
    search = Search(hosts, services, "switched-off", 4, *SMALL, "--epochs", 8)
    submitted = search.start()
    wait_until(lambda: first_checkpoint(search, "switched-off"), 300, "a checkpoint")
    hosts.power_off("head")
    submitted.communicate(timeout=300)
    assert submitted.returncode != 0
    for host in HOSTS:
        hosts.power_off(host)
    for host in HOSTS:
        hosts.start_node(host)
    search.end(search.start())


def test_faults_in_random_order_lose_and_double_nothing(hosts: Hosts, services: Services) -> None:
    options = [*SMALL, "--epochs", 12, "--ranks-per-trial", 2, "--concurrency", 1, "--reading", "stream"]
    search = Search(hosts, services, "storm", max(3, NUM_FAULTS // 3), *options)
    storm = Storm(hosts, services, search, SEED)
    print(Counter(rage(storm, NUM_FAULTS)), f"seed {SEED}, {storm.num_submissions} submissions")
    search.end(storm.submitted)
