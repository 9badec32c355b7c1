"""How many trials run at a time, and the CPUs and GPUs of each."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from shards_tools.errors import Error
from shards_tools.parallel import num_cpus


class Machine(NamedTuple):
    """The resources of one machine that trials may use."""

    cpus: int
    gpus: float
    name: str = "this machine"
    node_id: str = ""  # in a cluster that was joined
    memory_bytes: float = math.inf  # that Ray allocates there


def this_machine() -> Machine:
    """Return the machine that runs this process."""
    return Machine(num_cpus(), len(gpu_names()))


def gpu_names() -> list[str]:
    """Return the names of the GPUs that torch can use here."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        if not Path("/dev/kfd").exists():  # AMD's driver
            return []  # torch, whose import takes seconds, would find none without a driver
    import torch

    if not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]


@dataclass(frozen=True, kw_only=True)
class TrialResources:
    """How many trials run at a time, and what each of their ranks holds."""

    concurrency: int
    why_concurrency: str = ""  # the explanation, if --concurrency auto chose it
    ranks_per_trial: int = 1  # processes that train one model together
    cpus_per_rank: int
    gpus_per_rank: float
    memory_per_rank: int = 0  # bytes that Ray reserves on a node; 0: none

    @property
    def cpus_per_trial(self) -> int:
        """The CPUs that a running trial holds."""
        return self.ranks_per_trial * self.cpus_per_rank

    @property
    def gpus_per_trial(self) -> float:
        """The GPUs that a running trial holds."""
        return self.ranks_per_trial * self.gpus_per_rank

    @property
    def reuses_processes(self) -> bool:
        """Whether a trial runs in the process of the previous one.

        With several ranks, the old process group may have failed.
        """
        return self.ranks_per_trial == 1

    @property
    def num_cpus(self) -> int:
        """The CPUs that all running trials hold."""
        return self.concurrency * self.cpus_per_trial

    def leaves_cpus(self, machines: Sequence[Machine]) -> bool:
        """Return whether every running rank finds a free CPU to load batches on while it trains."""
        num_ranks = self.concurrency * self.ranks_per_trial
        return self.gpus_per_rank > 0 or sum(machine.cpus for machine in machines) >= self.num_cpus + num_ranks


def allocate(
    scale: str,
    machines: Sequence[Machine],
    *,
    gpus_per_trial: float | None,
    ranks_per_trial: int,
    concurrency: int | str | None,
    is_cluster: bool,
) -> TrialResources:
    """Return how many trials run at a time, and the CPUs and GPUs of each of their ranks.

    Args:
        scale: "tiny" or "paper".
        machines: this one, or the nodes of a cluster. Nodes may join a cluster later, so there more trials may be
            requested than fit now.
        gpus_per_trial: GPUs per rank; None: 1 if there is a GPU.
        ranks_per_trial: processes that train one model together.
        concurrency: trials at a time; None or "auto": as many as CPUs and GPUs allow. A measurement may lower "auto".
        is_cluster: whether a cluster was joined.

    Raises:
        Error: the machines have less than the options ask for.
    """
    most_gpus = max(machine.gpus for machine in machines)
    gpus = gpus_per_trial or (1.0 if most_gpus else 0.0)
    if gpus > most_gpus:
        place = "the largest node" if is_cluster else "this machine"
        raise Error(f"--gpus-per-trial {gpus:g}: {place} has {most_gpus:g} GPUs. Give less, or leave it out.")
    _check_ranks(ranks_per_trial, gpus, machines, is_cluster)
    num_at_once = max(1, sum(num_held(machine, scale, gpus) for machine in machines) // ranks_per_trial)
    chosen = concurrency if isinstance(concurrency, int) else num_at_once
    if gpus and chosen > num_at_once and not is_cluster:
        each = f"{ranks_per_trial * gpus:g} GPUs per trial"
        raise Error(f"--concurrency {chosen}: only {num_at_once} fit with {each}. Reduce one of the two.")
    return TrialResources(
        concurrency=chosen,
        ranks_per_trial=ranks_per_trial,
        cpus_per_rank=cpus_of_each(chosen * ranks_per_trial, scale, gpus, machines),
        gpus_per_rank=gpus,
    )


def _check_ranks(ranks: int, gpus: float, machines: Sequence[Machine], is_cluster: bool) -> None:
    """Refuse more ranks than fit at the same time, and ranks that would share a GPU."""
    most = sum(int(machine.gpus / gpus) if gpus else machine.cpus for machine in machines)
    if ranks > max(most, 1):
        place = "the nodes hold" if is_cluster else "this machine holds"
        each = f"{gpus:g} GPUs" if gpus else "a CPU"
        raise Error(f"--ranks-per-trial {ranks}: {place} {most} ranks with {each} each. Give less.")
    if ranks > 1 and 0 < gpus < 1:
        raise Error(
            f"--ranks-per-trial {ranks}: ranks cannot share a GPU, but --gpus-per-trial is {gpus:g}. Set it to 1."
        )


def cpus_of_each(num_ranks: int, scale: str, gpus: float, machines: Sequence[Machine]) -> int:
    """Return the CPUs per rank, at least 1.

    Args:
        num_ranks: ranks that run at a time on all machines together.
        scale: "tiny" or "paper"; a tiny network on CPUs gets one.
        gpus: GPUs per rank, or the fraction of one; 0: it trains on CPUs.
        machines: those with too few GPUs for a rank are ignored, unless all have too few.
    """
    if scale == "tiny" and not gpus:
        return 1
    able = [machine for machine in machines if machine.gpus >= gpus] or machines
    share = math.ceil(num_ranks / len(able))
    at_a_time = [min(share, num_held(machine, scale, gpus) or share) if gpus else share for machine in able]
    return max(1, min(machine.cpus // num for machine, num in zip(able, at_a_time, strict=True)))


def num_held(machine: Machine, scale: str, gpus: float) -> int:
    """Return how many ranks a machine runs at a time by default."""
    # A tiny network does not benefit from a second thread; a paper's network uses all CPUs.
    return int(machine.gpus / gpus) if gpus else machine.cpus if scale == "tiny" else 1
