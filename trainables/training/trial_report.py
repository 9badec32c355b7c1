"""What a training of the search reports: its epochs, or why it ended early.

Only this module knows the keys of the dict that Tune sends from a trial to the driver. It needs no other library.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

Save = Callable[[Path], None]  # writes the training's current checkpoint into a folder

# Prefixes of keys: Tune flattens dicts, and adds keys of its own.
METRICS = "metrics/"
EARLY_END = "early_end/"


@dataclass(frozen=True, kw_only=True)
class TrialReport:
    """What a training reports with each checkpoint, usually after an epoch."""

    metrics: dict[str, float] = field(default_factory=dict)  # of the epoch; empty for a checkpoint within one
    reading: str = ""  # how images are read; see shards_tools/images.py
    kept_at: str = ""  # address of the checkpoint in a bucket; empty: Tune keeps it
    notice: str = ""  # for the user

    @property
    def is_partial(self) -> bool:
        """Whether this only reports a checkpoint within an epoch."""
        return not self.metrics

    @property
    def epoch(self) -> int:
        """The epoch, counted from 1."""
        return int(self.metrics["epoch"])

    @property
    def time(self) -> float:
        """When the epoch ended, as `time.time()` has it."""
        return self.metrics["time"]

    def to_result(self) -> dict[str, Any]:
        """Return the dict to send with Tune."""
        texts = {"reading": self.reading, "kept_at": self.kept_at, "notice": self.notice}
        return {**_with_prefix(METRICS, self.metrics), **texts}


class EndReason(StrEnum):
    """Why a training ended before its last epoch; this start does not retry it."""

    INFEASIBLE = "infeasible"  # it cannot train with these settings: NaN, out of memory
    DISK_FULL = "disk_full"
    STORE_UNREACHABLE = "store_unreachable"  # the bucket of the checkpoints
    DATA_UNREADABLE = "data_unreadable"  # the shards are missing, damaged, out of reach, or others than before
    MISTAKE = "mistake"  # the user's; the text says what to do
    BUG = "bug"


@dataclass(frozen=True)
class EarlyEnd:
    """How a training ended early."""

    reason: EndReason
    text: str  # what happened, for people
    place: str = ""  # if the disk is full: what could not be written, if known
    traceback: str = ""  # of a bug
    ended_at: float = field(default_factory=time.time)

    def to_result(self) -> dict[str, Any]:
        """Return the dict to send with Tune."""
        return _with_prefix(EARLY_END, {**asdict(self), "reason": self.reason.value})


def from_result(result: Mapping[str, Any]) -> TrialReport | EarlyEnd:
    """Return what a trial sent with Tune."""
    if end := _under_prefix(EARLY_END, result):
        return EarlyEnd(**{**end, "reason": EndReason(end["reason"])})
    metrics = _under_prefix(METRICS, result)
    return TrialReport(metrics=metrics, **{name: result[name] for name in ("reading", "kept_at", "notice")})


def _with_prefix(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{prefix}{key}": value for key, value in values.items()}


def _under_prefix(prefix: str, result: Mapping[str, Any]) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in result.items() if key.startswith(prefix)}
