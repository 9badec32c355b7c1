"""Which trial is ahead while a study runs."""

from __future__ import annotations

from typing import Generic, TypeVar

Name = TypeVar("Name")


class Leader(Generic[Name]):
    """The best of trials that each stand with their last epoch, as in the study; who was ended early is out."""

    def __init__(self) -> None:
        self._standing: dict[int, tuple[float, Name]] = {}

    def put(self, number: int, value: float, name: Name) -> None:
        """A trial now has this value."""
        self._standing[number] = (value, name)

    def drop(self, number: int) -> None:
        """A trial is out, if it was in."""
        self._standing.pop(number, None)

    @property
    def best(self) -> tuple[float, Name] | None:
        """The highest value and its trial, of equals the earliest; None while there is none."""
        number = max(self._standing, key=lambda number: (self._standing[number][0], -number), default=None)
        return None if number is None else self._standing[number]
