"""Runs a search method on trainings whose curves are known, and counts epochs and seconds.

Several workers are simulated: an epoch takes as many seconds as the curve says, and a worker that is free asks the
method at once.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from optuna.distributions import BaseDistribution

Params = dict[str, Any]
Space = dict[str, BaseDistribution]


class Epoch(NamedTuple):
    """One epoch of a training."""

    value: float  # after it
    seconds: float  # that it takes


Curves = Callable[[Params], Iterable[Epoch]]


class Job(NamedTuple):
    """What a worker trains next. A trial that has paused continues where it stopped."""

    trial: int
    params: Params


class Method(Protocol):
    """A search method, asked for trainings and told their values."""

    def next_job(self) -> Job | None:
        """Return what the next free worker trains; None: nothing until another trial reports."""

    def report(self, trial: int, epoch: int, value: float) -> bool:
        """Take the value of a trial after an epoch; return whether it goes on to the next one."""


class Finished(NamedTuple):
    """A full training."""

    epochs: int  # of all trainings until its end
    value: float
    seconds: float  # by the simulated clock


@dataclass
class _Training:
    curve: Iterator[Epoch]
    epoch: int = 0


class Laboratory:
    """Runs one search.

    Args:
        space: the parameters.
        epochs: of a full training.
        curves: returns the epochs of a training, which may take time.
        num_epochs: the budget, in epochs of all trainings.
        num_seconds: the budget by the simulated clock.
        enough: the search ends after a full training with this value.
    """

    def __init__(
        self,
        space: Space,
        epochs: int,
        curves: Curves,
        *,
        num_epochs: float = math.inf,
        num_seconds: float = math.inf,
        enough: float = math.inf,
    ) -> None:
        self.space, self.epochs = space, epochs
        self._curves, self._most_epochs, self._most_seconds, self._enough = curves, num_epochs, num_seconds, enough
        self._trainings: dict[int, _Training] = {}
        self.finished: list[Finished] = []
        self.num_epochs = 0  # of all trainings so far

    @property
    def num_trials(self) -> int:
        """The number of trainings that have started."""
        return len(self._trainings)

    def run(self, method: Method, num_workers: int = 1) -> None:
        """Run a method until the budget is spent, or until it has no more jobs."""
        running: list[tuple[float, int, int, float]] = []  # when an epoch ends, the order of starts, trial, value
        num_started = 0
        now = 0.0
        idle = num_workers
        while self.num_epochs < self._most_epochs:
            while idle and (job := method.next_job()):
                idle -= 1
                self._trainings.setdefault(job.trial, _Training(iter(self._curves(job.params))))
                heapq.heappush(running, self._start_epoch(job.trial, now, num_started))
                num_started += 1
            if not running or running[0][0] > self._most_seconds:
                return
            now, _, trial, value = heapq.heappop(running)
            self.num_epochs += 1
            training = self._trainings[trial]
            if training.epoch == self.epochs:
                self.finished.append(Finished(self.num_epochs, value, now))
                if value >= self._enough:
                    return
            if method.report(trial, training.epoch, value):
                heapq.heappush(running, self._start_epoch(trial, now, num_started))
                num_started += 1
            else:
                idle += 1

    def _start_epoch(self, trial: int, now: float, order: int) -> tuple[float, int, int, float]:
        training = self._trainings[trial]
        value, seconds = next(training.curve)
        training.epoch += 1
        return now + seconds, order, trial, float(value)
