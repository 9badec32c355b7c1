"""An estimate of the time that a search still needs, from its trials so far."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Pace:
    """The progress of a running trial."""

    epoch: int  # the last epoch reported; 0: none yet
    epochs: int  # its epochs if it is not pruned
    is_pruned: bool  # whether it may be pruned; a baseline never is
    epoch_s: float | None  # seconds per epoch; None before its first report
    since_s: float  # seconds since its last report, or since its start


def seconds_left(
    running: Sequence[Pace],
    lengths: Sequence[int],
    *,
    num_waiting: int,
    at_a_time: int,
    epochs: int,
    epoch_s: float | None,
) -> float | None:
    """Return the estimated seconds until the last trial ends; None if no epoch has been timed yet.

    A waiting trial is assumed to take the mean number of epochs of the ended trials. A running trial is assumed to take
    the mean of those ended trials that got further than it has. Trials start as soon as a slot is free.

    Args:
        running: the running trials.
        lengths: epochs of the ended trials that a sampler suggested, including pruned ones.
        num_waiting: trials that have not started.
        at_a_time: how many run at a time.
        epochs: epochs of a trial that is not pruned.
        epoch_s: mean seconds per epoch; None: unknown.
    """
    if epoch_s is None:
        return None
    ends = [_seconds_of(pace, lengths, epoch_s) for pace in running]
    ends += [0.0] * (at_a_time - len(ends))
    heapq.heapify(ends)
    length = _mean(lengths) if lengths else epochs
    for _ in range(num_waiting):
        heapq.heapreplace(ends, ends[0] + length * epoch_s)
    return max(ends)


def _seconds_of(pace: Pace, lengths: Sequence[int], epoch_s: float) -> float:
    """Return the seconds until a running trial ends; its current epoch counts as done by at most one epoch's time."""
    longer = [min(length, pace.epochs) for length in lengths if length > pace.epoch] if pace.is_pruned else []
    left = (_mean(longer) if longer else pace.epochs) - pace.epoch
    own_s = epoch_s if pace.epoch_s is None else pace.epoch_s
    return max(0.0, left * own_s - min(own_s, pace.since_s))


def _mean(lengths: Sequence[int]) -> float:
    return sum(lengths) / len(lengths)
