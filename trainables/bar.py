"""The progress bar of a single training on standard error: batches of the current epoch and the time left."""

import sys
from contextlib import nullcontext
from types import TracebackType

from tqdm import tqdm

from shards_tools.command import on_terminal, say
from shards_tools.progress import lines_above_bars
from trainables.training.progress import Progress


class EpochBar:
    """A bar that restarts with every epoch. Without a terminal, only the epoch lines are printed."""

    def __init__(self, num_epochs: int, epoch: int) -> None:
        self._num_epochs = num_epochs
        shown = on_terminal()
        self._bar = tqdm(file=sys.stderr, disable=not shown, unit="batch", leave=False, dynamic_ncols=True)
        self._above = lines_above_bars() if shown else nullcontext()
        self._begin(epoch)

    def __enter__(self) -> "EpochBar":
        self._above.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._above.__exit__(kind, error, trace)
        self._bar.close()

    def batch_done(self, progress: Progress) -> None:
        """Advance to the number of finished batches and show the mean loss."""
        self._bar.total = progress.of
        if progress.num_images:  # a GPU's losses are read some steps late
            self._bar.set_postfix(loss=f"{progress.sums['loss'] / progress.num_images:.3f}", refresh=False)
        self._bar.update(progress.num_batches - self._bar.n)
        if progress.num_batches == progress.of:
            self._bar.refresh()  # tqdm skips updates that follow too quickly, and the evaluation may take long

    def epoch_done(self, line: str, epoch: int) -> None:
        """Print the epoch's line above the bar and restart the bar."""
        say(line)
        self._begin(epoch + 1)

    def _begin(self, epoch: int) -> None:
        self._bar.reset()
        self._bar.set_description(f"epoch {min(epoch, self._num_epochs)}/{self._num_epochs}", refresh=False)
