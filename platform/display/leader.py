"""Which trial is ahead while a study runs."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar


class Numbered(Protocol):
    """A trial, in whatever form."""

    @property
    def number(self) -> int: ...


Trial = TypeVar("Trial", bound=Numbered)


class Leader(Generic[Trial]):
    """The best trial so far: each that runs stands with its last epoch, as in the study; one ended early is out.

    Of those that are complete only the best is kept, so that a long study costs no more than a short one.
    """

    def __init__(self) -> None:
        self._running: dict[int, tuple[float, Trial]] = {}
        self._complete: tuple[float, Trial] | None = None

    def report(self, trial: Trial, value: float) -> None:
        """A trial that runs now has this value."""
        self._running[trial.number] = (value, trial)

    def end(self, trial: Trial, *, is_complete: bool) -> None:
        """A trial runs no longer; what it has reported counts where it is complete."""
        stood = self._running.pop(trial.number, None)
        if stood and is_complete:
            self._complete = _better(self._complete, stood)

    @property
    def best(self) -> tuple[float, Trial] | None:
        """The highest value and its trial, of equals the earliest; None while there is none."""
        best = self._complete
        for stood in self._running.values():
            best = _better(best, stood)
        return best


def _better(one: tuple[float, Trial] | None, other: tuple[float, Trial]) -> tuple[float, Trial]:
    if one is None:
        return other
    return max(one, other, key=lambda stood: (stood[0], -stood[1].number))
