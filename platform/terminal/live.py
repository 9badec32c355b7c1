"""The live display on a terminal, rendered by a separate thread so that trials never wait for it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from functools import partial
from queue import Empty, SimpleQueue

import optuna
from optuna.trial import TrialState
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from platform.resolved_search import ResolvedSearch
from platform.signals import told_by
from platform.study import num_finished
from platform.terminal.board import Board, named_trial
from platform.terminal.console import PlainConsole
from platform.terminal.lines import PART_LABEL_WIDTH, Display, Lines, Screen
from platform.terminal.picture import picture
from platform.trial_record import TrialRecord
from shards_tools.command import on_terminal, say
from shards_tools.progress import LinesAbove

IDLE_S = 1.0  # between two renderings without events
LEAST_S = 0.25  # the shortest time between two renderings
CLOSING_S = 5.0  # how long to wait for the last rendering

# A call for the rendering thread, which may return a text, or a text; texts are printed above the display.
Event = Callable[[], Text | None] | Text


def screen_of_search(study: optuna.Study, search: ResolvedSearch) -> Screen:
    """Return the live display of a search on a terminal, else lines."""
    if not on_terminal():
        return Display(study, search.goal)
    board = board_of(search, rivals=True)
    for trial in study.get_trials(deepcopy=False):
        board.remember(trial)
    return LiveScreen(board, lambda: (num_finished(study), search.budget.trials))


def screen_of_part(search: ResolvedSearch, count: Callable[[], tuple[int, int]]) -> Screen:
    """Return the live display of trainings that do not compete on a terminal, else lines.

    Args:
        search: the search that they belong to, without sampling, pruning and limits.
        count: returns how many of them are done, and how many there are.
    """
    if not on_terminal():
        return Lines(search.goal.objectives, PART_LABEL_WIDTH)
    return LiveScreen(board_of(search, rivals=False), count)


def board_of(search: ResolvedSearch, *, rivals: bool) -> Board:
    """Return the empty board of a search; `rivals`: whether its trials compete for the best value."""
    return Board(
        search.goal,
        search.budget,
        search.resources,
        longest_epochs=search.setup.longest_epochs,
        prunes=search.method.pruner != "none",
        rivals=rivals,
    )


class LiveScreen(Lines):
    """Passes events to the rendering thread; if rendering has failed, prints lines instead."""

    def __init__(self, board: Board, count: Callable[[], tuple[int, int]], console: Console | None = None) -> None:
        """Create the display.

        Args:
            board: the state to render.
            count: returns how many trials are done, and how many there will be.
            console: where to render; None: standard error.
        """
        super().__init__(board.goal.objectives, board.label_width)
        self._board, self._count = board, count
        self._console = console or StillConsole(file=sys.stderr, force_terminal=True)
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._thread = threading.Thread(target=self._render_safely, name="live display", daemon=True)
        self._closing = threading.Event()
        self._redirected = ExitStack()
        self._started = 0.0
        self._failed = False

    def __enter__(self) -> LiveScreen:
        self._started = time.monotonic()
        self._board.count(*self._count())
        above = LinesAbove(self._console.file, lambda line: self._events.put(Text.from_ansi(line)))
        self._redirected.enter_context(redirect_stderr(above))
        if sys.stdout.isatty():
            self._redirected.enter_context(redirect_stdout(above))
        self._redirected.enter_context(told_by(lambda line: self._events.put(partial(self._board.note, line))))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._redirected.close()
        self._closing.set()
        self._events.put(lambda: None)
        self._thread.join(CLOSING_S)

    def start(self, trial: optuna.Trial, attempt: int, step: int, last_step: int) -> None:
        if self._failed:
            return
        known = TrialRecord(trial).metrics if step else {}
        told = named_trial(trial), attempt, (step, last_step), known, time.monotonic()
        self._events.put(partial(self._board.count, *self._count()))
        self._events.put(partial(self._board.start, *told))

    def report(self, trial: optuna.Trial, step: int, last_step: int, values: Mapping[str, float], stops: bool) -> None:
        if self._failed:
            return super().report(trial, step, last_step, values, stops)
        return self._events.put(partial(self._board.report, named_trial(trial), step, dict(values), time.monotonic()))

    def died(self, trial: optuna.Trial, count: int) -> None:
        if self._failed:
            return super().died(trial, count)
        return self._events.put(partial(self._board.died, named_trial(trial), count))

    def end(self, trial: optuna.Trial, state: TrialState, reason: str) -> None:
        if self._failed:
            return super().end(trial, state, reason)
        return self._events.put(partial(self._board.end, named_trial(trial), state, reason))

    def _render_safely(self) -> None:
        """Render until the display closes; if that fails, print lines from then on, so that trials are not affected."""
        try:
            with Live(
                console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
            ) as live:
                self._render(live)
        except Exception as failure:
            self._failed = True
            self._redirected.close()
            say(f"The live display has failed ({type(failure).__name__}: {failure}). Continuing with plain lines.")
            while not self._events.empty():
                event = self._events.get()
                if isinstance(event, Text):
                    say(event.plain)

    def _render(self, live: Live) -> None:
        while not self._closing.is_set():
            above = self._take(IDLE_S)
            now = time.monotonic()
            passed_s = now - self._started
            hours, (width, height) = self._board.budget.hours, self._console.size
            left_s = None if hours is None else max(0.0, hours * 3600 - passed_s)
            live.update(
                picture(self._board, width=width, height=height, now=now, passed_s=passed_s, hours_left_s=left_s)
            )
            with self._console:  # written in one piece
                if above:
                    self._console.print(Group(*above))
                live.refresh()
            self._closing.wait(LEAST_S)
        ended = [*self._take(0), *self._board.left_running()]
        live.update(Text())
        if ended:
            self._console.print(Group(*ended))

    def _take(self, wait_s: float) -> list[Text]:
        """Process all events, waiting up to `wait_s` seconds for the first; return the lines for above the display."""
        lines: list[Text] = []
        while True:
            try:
                event = self._events.get(timeout=wait_s)
            except Empty:
                return lines
            line = event if isinstance(event, Text) else event()
            lines += [] if line is None else [line]
            wait_s = 0


class StillConsole(PlainConsole):
    """A console that never hides the cursor, so that `kill -9` does not leave a terminal without one."""

    def show_cursor(self, show: bool = True) -> bool:
        return super().show_cursor(True)
