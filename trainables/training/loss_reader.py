"""Reads the losses of an epoch from the device, some steps late, so that no step waits for it."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from trainables.device import Device, Download
from trainables.training.progress import Progress

STEPS_PER_READ = 20  # on a GPU; on a CPU the losses of every step are read at once


class NonFiniteLoss(ArithmeticError):
    """The loss became infinite or NaN: these settings cannot train."""


class LossReader:
    """Adds the losses of each step to the progress of the epoch.

    On a GPU the losses of STEPS_PER_READ steps are copied together, and read when the next copy starts: by then they
    have arrived.

    Args:
        num_images: of a batch, over all ranks.
        lr: of the recipe, for the message of a non-finite loss.
    """

    def __init__(self, device: Device, progress: Progress, num_images: int, lr: float) -> None:
        self._device, self._progress, self._num_images, self._lr = device, progress, num_images, lr
        self._names: tuple[str, ...] = ()
        self._unread: list[tuple[str, Tensor]] = []  # where each step is in the training, and its losses
        self._arriving: tuple[list[str], Download] | None = None

    def add(self, losses: Mapping[str, Tensor], place: str) -> None:
        """Take the losses of one step, as scalars on the device.

        Args:
            place: where the step is in the training, for the message of a non-finite loss.

        Raises:
            NonFiniteLoss: the loss of this or an earlier step is NaN or infinite.
        """
        self._names = tuple(losses)
        self._unread.append((place, torch.stack(list(losses.values()))))
        if not self._device.is_gpu:
            self.finish()
        elif len(self._unread) == STEPS_PER_READ:
            self._start_copy()

    def finish(self) -> None:
        """Wait for the losses of all steps and add them to the progress.

        Raises:
            NonFiniteLoss: the loss of a step is NaN or infinite.
        """
        if self._unread:
            self._start_copy()
        self._read()

    def _start_copy(self) -> None:
        self._read()
        places, losses = zip(*self._unread, strict=True)
        self._arriving = list(places), self._device.download(torch.stack(losses))
        self._unread = []

    def _read(self) -> None:
        if self._arriving is None:
            return
        (places, download), self._arriving = self._arriving, None
        for place, numbers in zip(places, download.wait().tolist(), strict=True):
            values = dict(zip(self._names, numbers, strict=True))
            if not math.isfinite(values["loss"]):
                raise NonFiniteLoss(f"The loss is {values['loss']} {place}, with lr={self._lr}.")
            self._progress.add(values, self._num_images)
