"""Where the searches of `benchmarks/search_methods.py` start their trainings: it counts epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution

Params = dict[str, Any]
Space = dict[str, BaseDistribution]
Curves = Callable[[Params], Iterable[float]]  # the values of a training after each of its epochs, one by one


class BudgetSpent(Exception):
    """There is no epoch left."""


class Laboratory:
    """Counts the epochs of every training, and keeps what each full one gave."""

    def __init__(self, space: Space, epochs: int, curves: Curves, num_epochs: int) -> None:
        """`epochs` of a full training, `num_epochs` of all together."""
        self.space, self.epochs = space, epochs
        self._curves, self._budget = curves, num_epochs
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
            self.laboratory.finished.append((self.laboratory.spent, value))
        return value
