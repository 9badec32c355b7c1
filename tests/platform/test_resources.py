"""How many trials run at a time on one machine and on the nodes of a cluster, and what each has."""

from typing import Any

import pytest

from platform.resources import Machine, allocate
from shards_tools.errors import Error


def resources_of(
    scale: str,
    machines: list[Machine],
    *,
    is_cluster: bool = False,
    concurrency: int | None = None,
    gpus: float | None = None,
    ranks: int = 1,
) -> tuple[int, int, float]:
    found = allocate(
        scale, machines, gpus_per_trial=gpus, ranks_per_trial=ranks, concurrency=concurrency, is_cluster=is_cluster
    )
    assert found.ranks_per_trial == ranks
    return found.concurrency, found.cpus_per_rank, found.gpus_per_rank


@pytest.mark.parametrize(
    ("scale", "machines", "asked", "expected"),
    [
        ("tiny", [Machine(8, 0)], {}, (8, 1, 0.0)),
        ("paper", [Machine(8, 0)], {}, (1, 8, 0.0)),
        ("paper", [Machine(8, 4)], {}, (4, 2, 1.0)),
        ("paper", [Machine(8, 4)], {"gpus": 0.5}, (8, 1, 0.5)),
        ("paper", [Machine(8, 0)], {"concurrency": 3}, (3, 2, 0.0)),
        ("tiny", [Machine(8, 0), Machine(4, 0)], {}, (12, 1, 0.0)),
        ("paper", [Machine(8, 0), Machine(4, 0)], {}, (2, 4, 0.0)),
        # Three GPUs in all, but no trial of two GPUs spans both nodes.
        ("paper", [Machine(8, 2), Machine(8, 1)], {"gpus": 2}, (1, 8, 2)),
        ("paper", [Machine(16, 4), Machine(4, 1), Machine(64, 0)], {}, (5, 4, 1.0)),
        # Nodes that join later are used.
        ("paper", [Machine(8, 2)], {"concurrency": 6}, (6, 4, 1.0)),
        ("paper", [Machine(8, 4)], {"ranks": 2}, (2, 2, 1.0)),
        ("paper", [Machine(8, 4)], {"ranks": 3}, (1, 2, 1.0)),
        ("paper", [Machine(8, 1), Machine(8, 1)], {"ranks": 2}, (1, 8, 1.0)),
        ("tiny", [Machine(2, 0), Machine(2, 0)], {"ranks": 2}, (2, 1, 0.0)),
        ("paper", [Machine(8, 0)], {"ranks": 2}, (1, 4, 0.0)),
    ],
)
def test_as_many_run_as_the_machines_hold(
    scale: str, machines: list[Machine], asked: dict[str, float], expected: tuple[int, int, float]
) -> None:
    assert resources_of(scale, machines, is_cluster=True, **asked) == expected


def test_more_gpus_than_there_are_is_refused() -> None:
    with pytest.raises(Error, match="only 2 fit with 1 GPUs per trial"):
        resources_of("paper", [Machine(8, 2)], concurrency=6)
    with pytest.raises(Error, match="this machine has 2 GPUs"):
        resources_of("paper", [Machine(8, 2)], gpus=3)
    with pytest.raises(Error, match="the largest node has 2 GPUs"):
        resources_of("paper", [Machine(8, 2), Machine(8, 1)], gpus=3, is_cluster=True)


@pytest.mark.parametrize(
    ("asked", "machines", "said"),
    [
        ({"concurrency": 2, "ranks": 2}, [Machine(8, 2)], "only 1 fit with 2 GPUs per trial"),
        ({"ranks": 3}, [Machine(8, 2)], "this machine holds 2 ranks with 1 GPUs each"),
        ({"ranks": 7, "is_cluster": True}, [Machine(2, 0), Machine(4, 0)], "the nodes hold 6 ranks with a CPU each"),
        ({"ranks": 2, "gpus": 0.5}, [Machine(8, 2)], "ranks cannot share a GPU"),
    ],
)
def test_ranks_that_do_not_fit_are_refused(asked: dict[str, Any], machines: list[Machine], said: str) -> None:
    with pytest.raises(Error, match=said):
        resources_of("paper", machines, **asked)


@pytest.mark.parametrize(
    ("scale", "machine", "concurrency", "leaves"),
    [
        ("tiny", Machine(2, 0), 2, False),
        ("tiny", Machine(2, 0), 1, True),
        ("tiny", Machine(3, 0), 2, False),
        ("paper", Machine(8, 0), 1, False),  # its step runs on all CPUs
        ("paper", Machine(8, 1), 1, True),
    ],
)
def test_trials_that_use_all_cpus_leave_none_for_loading(
    scale: str, machine: Machine, concurrency: int, leaves: bool
) -> None:
    resources = allocate(
        scale, [machine], gpus_per_trial=None, ranks_per_trial=1, concurrency=concurrency, is_cluster=False
    )
    assert resources.leaves_cpus([machine]) == leaves
