"""Distributed training: the processes (ranks) share every batch and every evaluation.

The result does not depend on their number, up to rounding: losses see the features of all ranks.
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

from shards_tools.batch_samplers.epochs import places_of_rank

# The first rank may wait for the receiver of its reports, and the others for it. Their starter notices deaths.
LONGEST_WAIT = timedelta(days=1)


@dataclass(frozen=True)
class DistributedContext:
    """This process in torch's default group, or alone. Environment variables are ignored."""

    rank: int = 0
    world: int = 1

    def share(self, indices: np.ndarray) -> np.ndarray:
        """Return this rank's part, in order; the lengths of parts differ by at most one."""
        return indices[places_of_rank(len(indices), self.rank, self.world)]

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return the module with gradients averaged over the ranks."""
        trains = any(weight.requires_grad for weight in module.parameters())
        if self.world == 1 or not trains:
            return module
        return DistributedDataParallel(module, gradient_as_bucket_view=True)  # avoids a second copy of the gradients

    def apart(self, module: nn.Module, *, unless: bool) -> AbstractContextManager[None]:
        """Keep gradients local to this rank within the context, except if `unless` is true."""
        if unless or not isinstance(module, DistributedDataParallel):
            return nullcontext()
        return module.no_sync()

    def gather(self, part: Tensor, total: int) -> Tensor:
        """Concatenate the parts of all ranks along the first axis, without waiting for the device.

        Args:
            part: this rank's, as long as `share` makes it.
            total: the length of all parts together.
        """
        if self.world == 1:
            return part
        places = [places_of_rank(total, rank, self.world) for rank in range(self.world)]
        lengths = [place.stop - place.start for place in places]
        padded = part.new_zeros(max(lengths), *part.shape[1:])
        padded[: len(part)] = part
        parts = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(parts, padded)
        return torch.cat([other[:length] for other, length in zip(parts, lengths, strict=True)])

    def greatest(self, number: int, device: torch.device) -> int:
        """Return the greatest of the numbers of all ranks, each of which must make this call.

        Args:
            device: where they exchange tensors.
        """
        return int(self.gather(torch.tensor([number], device=device), self.world).max())

    def own_gradient(self, gathered: Tensor) -> Tensor:
        """Return the gradient of this rank's part of a gathered tensor, times the world size.

        Averaging the gradients over the ranks later cancels the factor.

        Args:
            gathered: what `gather` returned, after the backward pass.
        """
        gradient = torch.zeros_like(gathered) if gathered.grad is None else gathered.grad
        return self.world * gradient[places_of_rank(len(gathered), self.rank, self.world)]

    def average_gradients(self, module: nn.Module) -> None:
        """Make the gradients of a module that ran on the same data on every rank equal to the bit."""
        if self.world == 1:
            return
        for weight in module.parameters():
            if weight.grad is not None:
                dist.all_reduce(weight.grad)
                weight.grad /= self.world


ALONE = DistributedContext()


def open_meeting(host: str, world: int) -> TCPStore:
    """Open the rendezvous of a group's ranks on any free port of this machine; it closes with the object."""
    return TCPStore(host, 0, world, is_master=True, wait_for_workers=False)


@contextmanager
def group(host: str, port: int, rank: int, world: int) -> Iterator[DistributedContext]:
    """Join torch's default group within the context.

    If the group has failed it is not destroyed, because that may wait for dead ranks: end the process instead.

    Args:
        host: with `port`, the address of the group's rendezvous. Ranks use the network interface that reaches it,
            unless an environment variable names another.
    """
    for backend in ("GLOO", "NCCL"):
        os.environ.setdefault(f"{backend}_SOCKET_IFNAME", _interface_to(host))
    store = TCPStore(host, port, world, is_master=False)
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=LONGEST_WAIT)
    yield ranks_of_group()
    dist.destroy_process_group()


def _interface_to(host: str) -> str:
    """Return the name of this machine's network interface that reaches `host`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))  # a datagram socket: nothing is sent
        own = probe.getsockname()[0]
    interfaces = psutil.net_if_addrs().items()
    found: str = next(name for name, addresses in interfaces if own in (entry.address for entry in addresses))
    return found


def ranks_of_group() -> DistributedContext:
    """Return this process's rank in torch's default group, which its starter has initialized."""
    return DistributedContext(dist.get_rank(), dist.get_world_size())
