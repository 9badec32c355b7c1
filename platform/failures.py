"""How many trials in a row have failed, and when that is enough."""

from __future__ import annotations

from optuna.trial import TrialState

from shards_tools.errors import Error

MAX_FAILURES_IN_A_ROW = 5


class Failures:
    """The failures of one start."""

    def __init__(self) -> None:
        self._in_a_row, self._last, self._traceback = 0, "", ""

    @property
    def are_too_many(self) -> bool:
        """Whether the next trial is not worth it."""
        return self._in_a_row >= MAX_FAILURES_IN_A_ROW

    def note(self, reason: str, traceback: str = "") -> None:
        """Keep why an attempt has ended, and a bug's traceback, in case it is the last."""
        self._last, self._traceback = reason, traceback

    def count(self, state: TrialState) -> None:
        """A trial has ended."""
        self._in_a_row = self._in_a_row + 1 if state == TrialState.FAIL else 0

    def raise_if_too_many(self) -> None:
        """Error where every trial fails for a reason that the user can mend, RuntimeError where it is a bug."""
        if not self.are_too_many:
            return
        what = f"{MAX_FAILURES_IN_A_ROW} trials in a row failed."
        if self._traceback:
            raise RuntimeError(f"{what} The last one:\n{self._traceback}")
        raise Error(f"{what} The last one: {self._last}")
