"""Limit the fraction of a GPU that a training may allocate, so that other trainings on it are safe.

PyTorch's caching allocator enforces the limit.
"""

import torch

# The CUDA context and the kernels and workspaces of its libraries, which the allocator does not count: 0.5 GB with
# PyTorch's usual libraries on a data-center GPU, plus a reserve for what they load later.
CONTEXT_BYTES = 800_000_000


def share_bytes(fraction: float, total_bytes: int) -> int:
    """Return how many bytes of a GPU's `total_bytes` the tensors of a training may take; all if fraction >= 1."""
    return total_bytes if fraction >= 1 else max(int(fraction * total_bytes) - CONTEXT_BYTES, 0)


def keep_to_share(fraction: float) -> None:
    """Limit this process to its fraction of the GPU; larger allocations raise torch.OutOfMemoryError."""
    if 0 < fraction < 1 and torch.cuda.is_available():
        total_bytes = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(share_bytes(fraction, total_bytes) / total_bytes)
