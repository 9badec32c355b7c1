"""Renders a board for the terminal: the running trials, the best so far, and the progress of the study."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from platform.objectives import written
from platform.terminal.board import Board, Row
from platform.terminal.lines import PART_LABEL_WIDTH, cell
from shards_tools.plain_text import visible
from trainables.evaluation.metric_names import COLUMNS

LEAST_LABEL_WIDTH = 20
COLUMN_WIDTH = 10  # including the space between columns
LINES_OF_LOG = 5  # kept free above the display if the terminal is high enough
OTHER_LINES = 8  # lines of the display besides those of trials
BAR_WIDTH = 40
LONGEST_SETTING = 24


def picture(board: Board, *, width: int, height: int, now: float, passed_s: float, hours_left_s: float | None) -> Group:
    """Render the board.

    The last line is empty, and the cursor stays there, so that other output starts on a line of its own.

    Args:
        board: the state of the study.
        width: columns of the terminal.
        height: lines of the terminal.
        now: the time by the monotonic clock, in seconds.
        passed_s: seconds since the start.
        hours_left_s: seconds until --hours are used up; None: there is no limit.
    """
    parts: list[RenderableType] = [Text(), *_running(board, width, height, now)]
    if board.rivals:
        parts += [_best(board), _references(board)]
    parts.append(_bar(board, now, passed_s, hours_left_s))
    if board.notice:
        parts.append(Text(board.notice, "bold yellow"))
    for part in parts:
        if isinstance(part, Text):
            part.no_wrap, part.overflow = True, "ellipsis"
    return Group(*parts, Text())


def _running(board: Board, width: int, height: int, now: float) -> list[RenderableType]:
    """Render as many running trials as fit, and the number of the others."""
    num_lines = max(1, height - OTHER_LINES - min(LINES_OF_LOG, height // 5) - bool(board.notice))
    rows = [board.rows[number] for number in sorted(board.rows)]
    shown = rows if len(rows) <= num_lines else rows[: max(1, num_lines - 1)]
    columns = _columns(board, width, now)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    most = width - COLUMN_WIDTH * len(columns) - 2
    table.add_column(
        "running", min_width=min(board.label_width, most), max_width=min(PART_LABEL_WIDTH, most), no_wrap=True
    )
    for name in columns:
        table.add_column(name, justify="right", width=COLUMN_WIDTH - 2, no_wrap=True)
    for row in shown:
        again = f", attempt {row.attempt}" if row.attempt > 1 else ""
        cells = [write(row) for write in columns.values()]
        table.add_row(f"{row.trial.label}{again}", *cells, style="" if row.values else "dim")
    more = [] if shown == rows else [Text(f"and {len(rows) - len(shown)} more", "dim")]
    return [table, *more, Text()]


def _columns(board: Board, width: int, now: float) -> dict[str, Callable[[Row], str]]:
    """Return heading -> function that formats its cells, most important first, as many as fit into the width."""
    columns: dict[str, Callable[[Row], str]] = {"epoch": lambda row: f"{row.epoch}/{row.epochs}"}
    for name in board.goal.objectives:
        columns[COLUMNS.get(name, name)] = _value(name, partial(cell, name))
    columns["loss"] = _value("loss", lambda value: f"{value:.3f}")
    columns["images/s"] = _value("images_per_second", lambda value: f"{value:.0f}")
    columns["host MB"] = _value("rss_mb", lambda value: f"{value:.0f}")
    if any("gpu_mb" in row.values for row in board.rows.values()):
        columns["GPU MB"] = _value("gpu_mb", lambda value: f"{value:.0f}")
    columns["silent"] = lambda row: clock(now - row.heard)
    most = max(2, (width - LEAST_LABEL_WIDTH - 2) // COLUMN_WIDTH)
    return dict(list(columns.items())[:most])


def _value(name: str, write: Callable[[float], str]) -> Callable[[Row], str]:
    return lambda row: write(row.values[name]) if name in row.values else ""


def _best(board: Board) -> Text:
    """Render the best trial so far and its settings."""
    line = Text().append("best so far  ", "dim")
    best = board.leader.best
    if best is None:
        return line.append("none within limits yet" if board.goal.at_most else "none yet")
    value, trial = best
    name = board.goal.objective
    line.append(f"{name} {written(name, value)}", "bold green").append(f"  {trial.label}")
    return line.append(f"  {settings_in_short(trial.settings)}", "dim")


def _references(board: Board) -> Text:
    """Render chance and the best paper row, for comparison, and the number of failed trials."""
    name = board.goal.objective
    shown = [f"chance {written(name, board.goal.chance[name])}"] if name in board.goal.chance else []
    if best := board.papers_leader.best:
        value, trial = best
        shown.append(f"{trial.baseline} {written(name, value)}")
    if board.num_failed:
        shown.append(f"{board.num_failed} failed")
    return Text(f"compared to  {'   '.join(shown)}", "dim")


def _bar(board: Board, now: float, passed_s: float, hours_left_s: float | None) -> Table:
    """Render the progress bar, the number of finished trials, and the time."""
    ends = (board.seconds_left(now), board.seconds_left_of_gpus(), hours_left_s)
    known = [left for left in ends if left is not None]
    left = f"about {spoken(min(known))} left" if known else "time left unknown"
    line = Table.grid(padding=(0, 2, 0, 0))
    line.add_column(max_width=BAR_WIDTH, ratio=1)
    line.add_column(no_wrap=True)
    done = f"{board.finished} of {board.wanted} {'trials' if board.rivals else 'trainings'}"
    line.add_row(
        ProgressBar(total=1.0, completed=board.fraction, complete_style="cyan", finished_style="green"),
        f"{done}  {clock(passed_s)} passed  {left}",
    )
    return line


def settings_in_short(settings: Mapping[str, object]) -> str:
    """Return settings as one short line, with three digits per number."""
    values = {name: f"{value:.3g}" if isinstance(value, float) else str(value) for name, value in settings.items()}
    return "  ".join(f"{visible(name)}={visible(value)[:LONGEST_SETTING]}" for name, value in values.items())


def clock(seconds: float) -> str:
    """Format a duration as M:SS or, from one hour on, H:MM:SS."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def spoken(seconds: float) -> str:
    """Format an estimated duration roughly, in at most two units."""
    if seconds < 55:
        return f"{max(5, round(seconds / 5) * 5)} s"
    minutes = max(1, round(seconds / 60))
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"
