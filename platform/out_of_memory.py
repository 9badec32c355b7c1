"""Tell a process that the kernel killed for lack of memory from one that died otherwise."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

COUNTERS = Path("/proc/vmstat")
REMEDY = "lower works_per_batch, images_per_work or image_size in the space, or run fewer trials with --concurrency"


class OutOfMemoryKills:
    """The kernel's counter of processes that it killed on this machine for lack of memory, in any control group."""

    def __init__(self) -> None:
        self._seen = _num_kills()

    def are_new(self) -> bool:
        """Return whether there were any since the last call; always False where the kernel does not count them."""
        before, self._seen = self._seen, _num_kills()
        return self._seen > before


def reason_of_deaths(count: int, epoch: int, *, by_kernel: bool) -> str:
    """Return why a trial whose process died `count` times in an epoch has failed, and what to do.

    Args:
        by_kernel: whether the kernel killed it for lack of memory. It is not known for processes on other nodes.
    """
    if by_kernel:
        return f"Its process was killed {count} times in epoch {epoch} for lack of memory: {REMEDY}."
    return f"Its process died {count} times in epoch {epoch}. If memory ran out, {REMEDY}."


def _num_kills() -> int:
    with suppress(OSError):
        for line in COUNTERS.read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
