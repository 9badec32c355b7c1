"""The device of a training: the only place that copies to it and from it, waits for it, and reads its memory.

A GPU works behind the host: the host launches operations and goes on. Nothing in a training step may make it wait:
copies start from pinned host memory, which torch's caching host allocator reuses only after they have finished, and
losses are read some steps later.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}  # precision of a recipe -> dtype


class Device:
    """A CPU or a GPU.

    Args:
        name: a torch device string; None selects the GPU if there is one, else the CPU.
    """

    def __init__(self, name: str | None = None) -> None:
        self.torch_device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))

    @cached_property
    def _uploads(self) -> torch.cuda.Stream:
        return torch.cuda.Stream(self.torch_device)  # type: ignore[no-untyped-call]

    @property
    def is_gpu(self) -> bool:
        """Whether the device works behind the host."""
        return self.torch_device.type == "cuda"

    @property
    def has_bfloat16(self) -> bool:
        """Whether a GPU computes in bfloat16 without emulating it; true on a CPU."""
        return not self.is_gpu or torch.cuda.is_bf16_supported(including_emulation=False)

    def allocate(self, shape: tuple[int, ...], dtype: torch.dtype = torch.uint8) -> Tensor:
        """Return host memory with arbitrary content, from which `upload` starts without waiting."""
        return torch.empty(shape, dtype=dtype, pin_memory=self.is_gpu)

    def upload(self, tensor: Tensor) -> Tensor:
        """Return a host tensor on the device, without waiting for the copy; on a CPU it is the same tensor.

        The copy has a stream of its own, so it overlaps with operations that were launched before.
        """
        if not self.is_gpu:
            return tensor
        with torch.cuda.stream(self._uploads):
            on_device = to_device(tensor, self.torch_device)
        launches = torch.cuda.current_stream(self.torch_device)
        launches.wait_stream(self._uploads)
        on_device.record_stream(launches)  # its memory is reused only after the operations that read it
        return on_device

    def download(self, tensor: Tensor) -> "Download":
        """Start to copy a tensor of the device to the host."""
        if not self.is_gpu:
            return Download(tensor, self.completion())
        on_host = self.allocate(tuple(tensor.shape), tensor.dtype)
        on_host.copy_(tensor, non_blocking=True)
        return Download(on_host, self.completion())

    def completion(self) -> Callable[[], None]:
        """Return a function that waits for the operations and copies that this thread has launched so far."""
        if not self.is_gpu:
            return lambda: None
        reached = torch.cuda.current_stream(self.torch_device).record_event()
        return lambda: reached.synchronize()

    def synchronize(self) -> None:
        """Wait until all launched operations have finished."""
        if self.is_gpu:
            torch.cuda.synchronize(self.torch_device)

    def configure(self, precision: str) -> None:
        """Set up this process for trainings in a recipe's precision, whose batches have one shape."""
        torch.backends.cudnn.benchmark = True  # benchmark convolutions once
        self._set_float32(precision)
        if precision == "bf16" and not self.has_bfloat16:
            log.warning("This GPU has no bfloat16 and emulates it slowly. Set precision=fp16.")

    @contextmanager
    def precision(self, precision: str) -> Iterator[None]:
        """Let float32 products and convolutions within the context use TF32 if a recipe's precision is tf32."""
        before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
        self._set_float32(precision)
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before[0])
            torch.backends.cudnn.allow_tf32 = before[1]

    def _set_float32(self, precision: str) -> None:
        uses_tf32 = self.is_gpu and precision == "tf32"  # a CPU has nothing between float32 and bfloat16
        torch.set_float32_matmul_precision("high" if uses_tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = uses_tf32

    def autocast(self, precision: str) -> AbstractContextManager[None]:
        """Run the operations within the context in a recipe's precision."""
        dtype = AUTOCAST.get(precision)
        return torch.autocast(self.torch_device.type, dtype=dtype, enabled=dtype is not None)

    @staticmethod
    def compiled(module: nn.Module) -> Callable[..., Any]:
        """Return the module compiled by torch at its first call."""
        compiled: Callable[..., Any] = torch.compile(module)
        return compiled

    def scaler(self, precision: str) -> torch.amp.GradScaler:
        """Return the scaler of a recipe's losses: float16 gradients would vanish; other precisions need none."""
        return torch.amp.GradScaler(self.torch_device.type, enabled=precision == "fp16")

    def random_state(self) -> Tensor | None:
        """Return the state of the device's random number generator; None: it is the host's."""
        return torch.cuda.get_rng_state(self.torch_device) if self.is_gpu else None

    def restore_random_state(self, state: Tensor | None) -> None:
        """Restore what `random_state` returned."""
        if self.is_gpu and state is not None:
            torch.cuda.set_rng_state(state, self.torch_device)

    @staticmethod
    def was_used() -> bool:
        """Return whether this process has worked on a GPU."""
        used: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        return used

    def limit_memory(self, num_bytes: int) -> None:
        """Let tensors of this process take at most `num_bytes` of a GPU; larger allocations raise OutOfMemoryError."""
        if self.is_gpu:
            torch.cuda.set_per_process_memory_fraction(num_bytes / self.total_bytes(), self.torch_device)

    def release_memory(self) -> None:
        """Return cached memory that no tensor uses to the GPU."""
        if self.is_gpu:
            torch.cuda.empty_cache()

    def forget_peak(self) -> None:
        """Start a new peak of the memory of tensors."""
        if self.is_gpu:
            torch.cuda.reset_peak_memory_stats(self.torch_device)

    def allocated_bytes(self) -> int:
        """Return the GPU memory of this process's tensors; 0 on a CPU, as in the functions below."""
        return torch.cuda.memory_allocated(self.torch_device) if self.is_gpu else 0

    def peak_bytes(self) -> int:
        """Return the highest GPU memory of this process's tensors since `forget_peak`."""
        return torch.cuda.max_memory_allocated(self.torch_device) if self.is_gpu else 0

    def peak_reserved_bytes(self) -> int:
        """Return the highest GPU memory that torch reserved for tensors since `forget_peak`."""
        return torch.cuda.max_memory_reserved(self.torch_device) if self.is_gpu else 0

    def total_bytes(self) -> int:
        """Return the memory of the GPU."""
        return torch.cuda.get_device_properties(self.torch_device).total_memory if self.is_gpu else 0

    def free_bytes(self) -> int:
        """Return the memory of the GPU that no process uses."""
        return torch.cuda.mem_get_info(self.torch_device)[0] if self.is_gpu else 0


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a host tensor on a device; the copy to a GPU is only launched, from pinned memory."""
    if device.type != "cuda":
        return tensor.to(device)
    pinned = tensor if tensor.is_pinned() else tensor.pin_memory()
    return pinned.to(device, non_blocking=True)


@dataclass(frozen=True)
class Download:
    """A tensor on its way from the device to the host."""

    on_host: Tensor
    wait_for_copy: Callable[[], None]

    def wait(self) -> Tensor:
        """Return the tensor once it has arrived."""
        self.wait_for_copy()
        return self.on_host
