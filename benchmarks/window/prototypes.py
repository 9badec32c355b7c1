"""Possible changes to the training step that the window measures before they are built into the project.

B batch, C channels, H height, W width.
"""

import math
from collections.abc import Generator, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from benchmarks.window.session import DEVICE, ON_GPU
from trainables.data.batches import Batch
from trainables.models.input_step import InputStep
from trainables.training.step import NonFiniteLoss, Step

NUM_BUFFERS = 3  # pinned; the copy from one must end before it is filled again
AREA = (0.02, 1 / 3)  # of timm's RandomErasing, as fractions of the image
LOWEST_ASPECT = 0.3  # of timm's RandomErasing


class DeferredStep(Step):
    """The training step without synchronizing with the device: the losses of a step are read one step later."""

    _waiting: tuple[list[str], Tensor, Any] | None = None

    def __call__(self, batch: Batch, place: str) -> dict[str, float]:
        """Train on one batch and return the losses of the batch before; zeros after the first."""
        self._optimizer.zero_grad()
        losses = self._whole(batch)
        if self._recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._trained, self._recipe.clip_norm)
        self._optimizer.step()
        on_host = torch.stack([loss.detach() for loss in losses.values()]).to("cpu", non_blocking=True)
        copied = torch.cuda.Event() if ON_GPU else None  # type: ignore[no-untyped-call]
        if copied is not None:
            copied.record()
        before, self._waiting = self._waiting, (list(losses), on_host, copied)
        if before is None:
            return dict.fromkeys(losses, 0.0)
        return _read(*before, place)


def _read(names: list[str], on_host: Tensor, copied: Any, place: str) -> dict[str, float]:
    if copied is not None:
        copied.synchronize()
    values = dict(zip(names, on_host.tolist(), strict=True))
    if not math.isfinite(values["loss"]):
        raise NonFiniteLoss(place)
    return values


def prefetched(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Yield batches on the device, each copied from pinned memory on its own stream while the previous one is used."""
    return _prefetched(batches) if ON_GPU else iter(batches)


def _prefetched(batches: Iterable[Batch]) -> Generator[Batch]:
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    buffers: dict[int, tuple[Tensor, Any]] = {}
    ahead: Batch | None = None
    for number, batch in enumerate(batches):
        slot = number % NUM_BUFFERS
        if slot not in buffers or buffers[slot][0].shape != batch.images.shape:
            pinned = torch.empty(batch.images.shape, dtype=torch.uint8, pin_memory=True)
            buffers[slot] = (pinned, torch.cuda.Event())  # type: ignore[no-untyped-call]
        pinned, copied = buffers[slot]
        copied.synchronize()
        pinned.copy_(batch.images)
        with torch.cuda.stream(stream):
            images = pinned.to(DEVICE, non_blocking=True)
            labels = batch.labels.pin_memory().to(DEVICE, non_blocking=True)
            copied.record(stream)
        if ahead is not None:
            yield ahead
        torch.cuda.current_stream().wait_stream(stream)
        for part in (images, labels):
            part.record_stream(torch.cuda.current_stream())
        ahead = Batch(images, labels)
    if ahead is not None:
        yield ahead


def batch_erasing() -> AbstractContextManager[object]:
    """Erase in a whole batch with a dozen kernels, with timm's distribution, instead of image by image."""
    original = InputStep._erase

    def erase(self: InputStep, pixels_BCHW: Tensor) -> Tensor:
        if self.erase_fill != "pixel":
            return original(self, pixels_BCHW)
        inside_B1HW = _rectangles(pixels_BCHW, self.erase_probability)
        return torch.where(inside_B1HW, torch.randn_like(pixels_BCHW), pixels_BCHW)

    return mock.patch.object(InputStep, "_erase", erase)


def _rectangles(pixels_BCHW: Tensor, probability: float) -> Tensor:
    """Return which pixels to erase, a rectangle in each chosen image: bool B x 1 x H x W."""
    batch, _, height, width = pixels_BCHW.shape
    device = pixels_BCHW.device
    draws = torch.rand(5, batch, 1, 1, 1, device=device)
    area = (AREA[0] + draws[0] * (AREA[1] - AREA[0])) * height * width
    aspect = torch.exp((2 * draws[1] - 1) * math.log(1 / LOWEST_ASPECT))
    rows, columns = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    chosen = (draws[4] < probability) & (rows < height) & (columns < width)
    top, left = (draws[2] * (height - rows + 1)).floor(), (draws[3] * (width - columns + 1)).floor()
    y = torch.arange(height, device=device)[:, None]
    x = torch.arange(width, device=device)
    return chosen & (y >= top) & (y < top + rows) & (x >= left) & (x < left + columns)
