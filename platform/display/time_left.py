"""How long a search will still take, by what its trials have shown so far."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How far a trial that runs is."""

    epoch: int  # the last that was reported; 0: none yet
    epochs: int  # with the last of which it ends, unless it is pruned
    is_pruned: bool  # a row set by hand never is
    epoch_s: float | None  # seconds that one of its epochs takes; None before its first report
    since_s: float  # seconds since that report, or since its start


def seconds_left(
    running: Sequence[Pace],
    lengths: Sequence[int],
    *,
    num_waiting: int,
    at_a_time: int,
    epochs: int,
    epoch_s: float | None,
) -> float | None:
    """Seconds until the last trial ends; None while nobody knows how long an epoch takes.

    A trial that waits is taken to be as long as those that were drawn and have ended were on average, one that runs as
    long as those of them that came further than it has; each starts as soon as a place is free.

    Args:
        lengths: epochs of the trials that were drawn and have ended, pruned ones among them.
        num_waiting: trials that are still to start.
        at_a_time: how many run at a time.
        epochs: of a trial that runs to its end.
        epoch_s: seconds of an epoch, as the mean of all that were seen.
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
    """Until a trial that runs ends. Of its epoch under way no more is taken to be done than the whole of it."""
    longer = [min(length, pace.epochs) for length in lengths if length > pace.epoch] if pace.is_pruned else []
    left = (_mean(longer) if longer else pace.epochs) - pace.epoch
    own_s = epoch_s if pace.epoch_s is None else pace.epoch_s
    return max(0.0, left * own_s - min(own_s, pace.since_s))


def _mean(lengths: Sequence[int]) -> float:
    return sum(lengths) / len(lengths)
