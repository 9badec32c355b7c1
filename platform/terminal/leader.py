"""The best trial while a study runs."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar


class Numbered(Protocol):
    """An object with the number of a trial."""

    @property
    def number(self) -> int: ...


Trial = TypeVar("Trial", bound=Numbered)


class Leader(Generic[Trial]):
    """Tracks the best trial so far.

    A running trial counts with the value of its last epoch. A trial that ends early does not count any more. Only the
    best of the completed trials is kept, so that memory and time do not grow with the study.
    """

    def __init__(self) -> None:
        self._running: dict[int, tuple[float, Trial]] = {}
        self._complete: tuple[float, Trial] | None = None

    def report(self, trial: Trial, value: float) -> None:
        """Set the value of a running trial."""
        self._running[trial.number] = (value, trial)

    def end(self, trial: Trial, *, is_complete: bool) -> None:
        """Remove a running trial; its last value still counts if it is complete."""
        last = self._running.pop(trial.number, None)
        if last and is_complete:
            self._complete = _better(self._complete, last)

    @property
    def best(self) -> tuple[float, Trial] | None:
        """The highest value and its trial, the earliest in a tie; None if there is none."""
        best = self._complete
        for other in self._running.values():
            best = _better(best, other)
        return best


def _better(one: tuple[float, Trial] | None, other: tuple[float, Trial]) -> tuple[float, Trial]:
    if one is None:
        return other
    return max(one, other, key=lambda entry: (entry[0], -entry[1].number))
