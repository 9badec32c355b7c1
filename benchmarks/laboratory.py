"""Counts the training epochs of the searches in `benchmarks/search_methods.py`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution

Params = dict[str, Any]
Space = dict[str, BaseDistribution]
Curves = Callable[[Params], Iterable[float]]  # yields the value of a training after each epoch


class BudgetSpent(Exception):
    """No epochs are left, or no more are needed."""


class Laboratory:
    """Counts the epochs of every training, and records the result of each full one."""

    def __init__(self, space: Space, epochs: int, curves: Curves, num_epochs: int, *, enough: float = math.inf) -> None:
        """Set the budget: `epochs` per full training, `num_epochs` overall; stop early once one ends with `enough`."""
        self.space, self.epochs = space, epochs
        self._curves, self._budget, self._enough = curves, num_epochs, enough
        self.spent = 0
        self.num_trials = 0
        self.finished: list[tuple[int, float]] = []  # epochs spent so far, and the value after the last epoch

    def start(self, params: Params) -> Training:
        """Return a training that has not run an epoch yet."""
        self.num_trials += 1
        return Training(self, iter(self._curves(params)))

    def spend(self) -> None:
        """Take an epoch off the budget."""
        if self.spent == self._budget:
            raise BudgetSpent
        self.spent += 1

    def finish(self, value: float) -> None:
        """Record a full training."""
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
        """Return the value after one more epoch."""
        self.laboratory.spend()
        self.epoch += 1
        value = float(next(self.values))
        if self.epoch == self.laboratory.epochs:
            self.laboratory.finish(value)
        return value
