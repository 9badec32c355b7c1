"""Processes that train one model together: each takes its part of every batch and of every evaluation.

What is learned does not depend on how many there are, up to rounding: losses see the features of all ranks.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


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
        return DistributedDataParallel(module) if self.world > 1 and trains else module

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


def ranks_of_group() -> Ranks:
    """This process in torch's default group, which its starter has set up."""
    return Ranks(dist.get_rank(), dist.get_world_size())
