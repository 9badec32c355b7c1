"""The part of a GPU that a training may take: enforced by PyTorch's allocator, so that others on it are safe."""

import torch

# Of CUDA's context and of its libraries' kernels and workspaces, which the allocator does not count: 0.5 GB with
# PyTorch's usual libraries on a data-centre GPU, and room for what they load later.
CONTEXT_BYTES = 800_000_000


def share_bytes(fraction: float, total_bytes: int) -> int:
    """What the tensors of a training may take on a GPU of `total_bytes`; all of it where the GPU is its own."""
    return total_bytes if fraction >= 1 else max(int(fraction * total_bytes) - CONTEXT_BYTES, 0)


def keep_to_share(fraction: float) -> None:
    """Let this process take no more than its share of the GPU: what asks for more is out of GPU memory."""
    if 0 < fraction < 1 and torch.cuda.is_available():
        total_bytes = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(share_bytes(fraction, total_bytes) / total_bytes)
