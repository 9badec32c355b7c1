"""How far an epoch has come: what a training in the middle of one needs beside its weights and optimizer."""

import dataclasses
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shards_tools.errors import Error

PROGRESS_NAME = "epoch.pt"  # tensors, numbers and texts alone, read with weights_only=True


@dataclass
class Progress:
    """The batches of an epoch that are done, and what they gave."""

    num_batches: int = 0
    of: int = 0  # batches that the epoch has; 0: not begun
    num_images: int = 0
    sums: dict[str, float] = field(default_factory=dict)  # of each loss times the batch's images
    random: dict[str, Any] | None = None  # the states of the random numbers; None: not begun, or not looked at

    def add(self, losses: Mapping[str, float], num_images: int) -> None:
        """Count one batch."""
        self.num_batches += 1
        self.num_images += num_images
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * num_images

    def now(self, device: torch.device) -> "Progress":
        """A copy that stays as it is, with the random numbers as they stand."""
        return dataclasses.replace(self, sums=dict(self.sums), random=random_states(device))


def random_states(device: torch.device) -> dict[str, Any]:
    """The states of torch, numpy and random, as tensors, numbers and texts."""
    name, keys, *position = np.random.get_state(legacy=True)
    states = {
        "torch": torch.get_rng_state(),
        "numpy": [name, torch.from_numpy(np.asarray(keys, np.int64)), *position],
        "python": random.getstate(),
    }
    return {**states, "cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else states


def restore_random_states(states: Mapping[str, Any], device: torch.device) -> None:
    """Put torch, numpy and random back to where `random_states` found them."""
    torch.set_rng_state(states["torch"])
    name, keys, *position = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *position))
    random.setstate(states["python"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)


def save_progress(folder: Path, progress: Progress) -> None:
    """Write it into the folder of a checkpoint."""
    torch.save(
        {entry.name: getattr(progress, entry.name) for entry in dataclasses.fields(progress)}, folder / PROGRESS_NAME
    )


def load_progress(folder: Path) -> Progress | None:
    """What the checkpoint in `folder` has of an epoch, or None where it was written between two."""
    path = folder / PROGRESS_NAME
    if not path.exists():
        return None
    try:
        return Progress(**torch.load(path, map_location="cpu", weights_only=True))
    except Exception as failure:  # a damaged file raises nearly anything
        raise Error(f"{path} does not say how far its epoch was ({failure}). Take another checkpoint.") from failure
