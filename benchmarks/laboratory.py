"""Where the searches of `benchmarks/search_methods.py` start their trainings: it counts epochs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution

Params = dict[str, Any]
Space = dict[str, BaseDistribution]
Curves = Callable[[Params], Iterable[float]]  # the values of a training after each of its epochs, one by one


class BudgetSpent(Exception):
    """There is no epoch left, or no need for one."""


class Laboratory:
    """Counts the epochs of every training, and keeps what each full one gave."""

    def __init__(self, space: Space, epochs: int, curves: Curves, num_epochs: int, *, enough: float = math.inf) -> None:
        """`epochs` of a full training, `num_epochs` of all together, and no more once one ends with `enough`."""
        self.space, self.epochs = space, epochs
        self._curves, self._budget, self._enough = curves, num_epochs, enough
        self.spent = 0
        self.num_trials = 0
        self.finished: list[tuple[int, float]] = []  # epochs spent by then, and the value after the last epoch

    def start(self, params: Params) -> Training:
        """A training that has had no epoch yet."""
        self.num_trials += 1
        return Training(self, iter(self._curves(params)))

    def spend(self) -> None:
        """Take an epoch off the budget."""
        if self.spent == self._budget:
            raise BudgetSpent
        self.spent += 1

    def finish(self, value: float) -> None:
        """Note a full training."""
        self.finished.append((self.spent, value))
        if value >= self._enough:
            self._budget = self.spent


@dataclass
class Training:
    """One training."""

    laboratory: Laboratory
    values: Iterator[float]
    epoch: int = 0

    def advance(self) -> float:
        """The value after one more epoch."""
        self.laboratory.spend()
        self.epoch += 1
        value = float(next(self.values))
        if self.epoch == self.laboratory.epochs:
            self.laboratory.finish(value)
        return value
