"""Copies of tensors in host memory, in buffers that later copies reuse."""

from typing import Any

import torch
from torch import Tensor

Buffers = dict[str, Tensor]


@torch.no_grad()
def copied(values: Any, buffers: Buffers, place: str = "", *, contiguous: bool = False) -> Any:
    """Return a copy of nested dicts and lists whose tensors are in `buffers`.

    Copies from a GPU may still be under way: wait with `Device.launched`.

    Args:
        values: tensors, numbers and strings, in dicts and lists. Outside of tensors nothing is modified in place.
        buffers: by place; those that are missing are added, in pinned memory for tensors on a GPU.
        place: of `values` in `buffers`.
        contiguous: whether the copies are contiguous; otherwise, they have the strides of the tensors.
    """
    if isinstance(values, dict):
        return {key: copied(each, buffers, f"{place}/{key}", contiguous=contiguous) for key, each in values.items()}
    if isinstance(values, list):
        return [copied(each, buffers, f"{place}/{at}", contiguous=contiguous) for at, each in enumerate(values)]
    if not isinstance(values, Tensor):
        return values
    if place not in buffers:
        layout = torch.contiguous_format if contiguous else torch.preserve_format
        buffers[place] = torch.empty_like(values, device="cpu", memory_format=layout, pin_memory=values.is_cuda)
    return buffers[place].copy_(values, non_blocking=True)
