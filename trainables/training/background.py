"""Reports written and sent by a thread of their own, while the training continues."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType

from trainables.training.progress import Progress
from trainables.training.resume import Buffers, CurrentCheckpoint
from trainables.training.trial_report import Save, TrialReport


class BackgroundReports:
    """Copies each checkpoint and passes it on in another thread, one at a time and in order.

    Before the next report and at the end of the context, the training waits for the report in flight. What a report
    raises, such as the `SystemExit` of a pruned trial, is raised in the training: after its batch, at its next report,
    or at the end, instead of what ended the training meanwhile.

    Args:
        report: passes on an epoch's report.
        save_partial: passes on a checkpoint within an epoch.
    """

    def __init__(self, report: Callable[[TrialReport, Save], None], save_partial: Callable[[Save], None]) -> None:
        self._report, self._save_partial = report, save_partial
        self._thread = ThreadPoolExecutor(1, "report")
        self._in_flight: Future[None] | None = None
        self._buffers: Buffers = {}

    def __enter__(self) -> "BackgroundReports":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.wait()
        finally:
            self._thread.shutdown()

    def report(self, report: TrialReport, checkpoint: CurrentCheckpoint) -> None:
        """Pass on an epoch's report with a copy of its checkpoint."""
        self._send(partial(self._report, report), checkpoint)

    def save_partial(self, checkpoint: CurrentCheckpoint) -> None:
        """Pass on a copy of a checkpoint within an epoch."""
        self._send(self._save_partial, checkpoint)

    def raise_failure(self, progress: Progress) -> None:
        """Raise what the last report raised, if it has; called after every batch."""
        if self._in_flight is not None and self._in_flight.done():
            self.wait()

    def wait(self) -> None:
        """Wait for the report in flight, and raise what it raised."""
        sent, self._in_flight = self._in_flight, None
        if sent is not None:
            sent.result()

    def _send(self, send: Callable[[Save], None], checkpoint: CurrentCheckpoint) -> None:
        self.wait()  # the buffers are free again
        self._in_flight = self._thread.submit(send, checkpoint.copied(self._buffers))
