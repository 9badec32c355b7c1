"""Processes that train one model together: each takes its part of every batch and of every evaluation.

What is learned does not depend on how many there are, up to rounding: losses see the features of all ranks.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import psutil
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

# The first rank may wait for whom it reports to, and the others for it. Whoever starts them sees that one has died.
LONGEST_WAIT = timedelta(days=1)


@dataclass(frozen=True)
class Ranks:
    """This process among those of torch's default group, or alone. No environment variable counts."""

    rank: int = 0
    world: int = 1

    def share(self, indices: np.ndarray) -> np.ndarray:
        """This rank's part, in order; parts differ in length by one at most."""
        part: np.ndarray = np.array_split(indices, self.world)[self.rank]
        return part

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module with gradients that are averaged over the ranks."""
        trains = any(weight.requires_grad for weight in module.parameters())
        if self.world == 1 or not trains:
            return module
        return DistributedDataParallel(module, gradient_as_bucket_view=True)  # else gradients take their memory twice

    def apart(self, module: nn.Module, *, unless: bool) -> AbstractContextManager[None]:
        """While inside, gradients stay with this rank."""
        if unless or not isinstance(module, DistributedDataParallel):
            return nullcontext()
        return module.no_sync()

    def gather(self, value: Tensor) -> Tensor:
        """The parts of all ranks one after the other, along the first axis; they may differ in length."""
        if self.world == 1:
            return value
        length = torch.tensor([len(value)], device=value.device)
        lengths = [torch.empty_like(length) for _ in range(self.world)]
        dist.all_gather(lengths, length)
        sizes = [int(size) for size in lengths]
        padded = value.new_zeros(max(sizes), *value.shape[1:])
        padded[: len(value)] = value
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    def own_gradient(self, gathered: Tensor, own_length: int) -> Tensor:
        """The gradient of this rank's part of what was gathered, times the ranks, since they will be averaged."""
        gradient = torch.zeros_like(gathered) if gathered.grad is None else gathered.grad
        if self.world == 1:
            return gradient
        lengths = self.gather(torch.tensor([own_length], device=gathered.device)).tolist()
        start = sum(lengths[: self.rank])
        return self.world * gradient[start : start + own_length]

    def average_gradients(self, module: nn.Module) -> None:
        """Make the gradients of a module that every rank went through alike the same to the bit."""
        if self.world == 1:
            return
        for weight in module.parameters():
            if weight.grad is not None:
                dist.all_reduce(weight.grad)
                weight.grad /= self.world


ALONE = Ranks()


def open_meeting(host: str, world: int) -> TCPStore:
    """Where the ranks of a group meet, at any free port of this machine; it closes with the object."""
    return TCPStore(host, 0, world, is_master=True, wait_for_workers=False)


@contextmanager
def group(host: str, port: int, rank: int, world: int) -> Iterator[Ranks]:
    """This process as one of torch's default group, for as long as the context lasts.

    A group that has failed is left as it is, since to end it may wait for ranks that are gone: end its process.

    Args:
        host: with `port`, where the group's meeting is open. Ranks reach each other over the interface that leads
            there, unless the environment names another.
    """
    for backend in ("GLOO", "NCCL"):
        os.environ.setdefault(f"{backend}_SOCKET_IFNAME", _interface_to(host))
    store = TCPStore(host, port, world, is_master=False)
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=LONGEST_WAIT)
    yield ranks_of_group()
    dist.destroy_process_group()


def _interface_to(host: str) -> str:
    """The name of this machine's network interface from which `host` is reached."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))  # of a datagram socket: nothing is sent
        own = probe.getsockname()[0]
    interfaces = psutil.net_if_addrs().items()
    found: str = next(name for name, addresses in interfaces if own in (entry.address for entry in addresses))
    return found


def ranks_of_group() -> Ranks:
    """This process in torch's default group, which its starter has set up."""
    return Ranks(dist.get_rank(), dist.get_world_size())
