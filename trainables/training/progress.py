"""Progress within an epoch: what a checkpoint taken there needs besides weights and optimizer state."""

import dataclasses
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shards_tools.errors import Error, reason_of
from trainables.device import Device

PROGRESS_NAME = "epoch.pt"  # only tensors, numbers and strings, read with weights_only=True


@dataclass
class Progress:
    """The finished batches of an epoch, and the sums of the losses that have been read from the device."""

    num_batches: int = 0
    of: int = 0  # number of batches in the epoch; 0: not started
    num_images: int = 0  # of the batches whose losses have been read
    sums: dict[str, float] = field(default_factory=dict)  # of each loss times the batch's number of images
    random: dict[str, Any] | None = None  # states of the random number generators; None: not started, or not recorded

    def add(self, losses: Mapping[str, float], num_images: int) -> None:
        """Add the losses of one batch.

        Args:
            losses: each loss by name, a mean over the batch.
            num_images: in the batch, over all ranks.
        """
        self.num_images += num_images
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * num_images

    def now(self, device: Device) -> "Progress":
        """Return a snapshot, with the current states of the random number generators."""
        return dataclasses.replace(self, sums=dict(self.sums), random=random_states(device))


def random_states(device: Device) -> dict[str, Any]:
    """Return the states of torch, numpy and random, as tensors, numbers and strings."""
    name, keys, *position = np.random.get_state(legacy=True)
    states = {
        "torch": torch.get_rng_state(),
        "numpy": [name, torch.from_numpy(np.asarray(keys, np.int64)), *position],
        "python": random.getstate(),
    }
    own = device.random_state()
    return states if own is None else {**states, "cuda": own}


def restore_random_states(states: Mapping[str, Any], device: Device) -> None:
    """Restore the states that `random_states` returned."""
    torch.set_rng_state(states["torch"])
    name, keys, *position = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *position))
    random.setstate(states["python"])
    device.restore_random_state(states.get("cuda"))


def save_progress(folder: Path, progress: Progress) -> None:
    """Write the progress into the folder of a checkpoint."""
    torch.save(vars(progress), folder / PROGRESS_NAME)


def load_progress(folder: Path) -> Progress | None:
    """Return the progress stored in a checkpoint, or None if it was written between two epochs.

    Raises:
        Error: the file is damaged.
    """
    path = folder / PROGRESS_NAME
    if not path.exists():
        return None
    try:
        return Progress(**torch.load(path, map_location="cpu", weights_only=True))
    except Exception as failure:  # a damaged file raises nearly anything
        raise Error(f"{path} is damaged ({reason_of(failure)}). Use another checkpoint.") from failure
