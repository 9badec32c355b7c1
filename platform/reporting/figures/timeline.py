"""When each trial ran, and how it ended.

Unlike Optuna's, it shows the time since the start and which trials needed several attempts.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from matplotlib.ticker import MaxNLocator
from optuna.trial import FrozenTrial, TrialState

from platform.read_only_study import StoredStudy, num_epochs
from platform.reporting.figures.figure import Figure
from platform.reporting.figures.look import BLUE, GRAY, INTERACTIVE, PURPLE, RED, canvas
from platform.reporting.figures.selection import thinned
from platform.reporting.figures.trials import escaped, title_of
from platform.trial_record import TrialRecord
from shards_tools.errors import Error

STATES = {
    TrialState.COMPLETE: ("complete", BLUE),
    TrialState.PRUNED: ("pruned", GRAY),
    TrialState.FAIL: ("failed", RED),
    TrialState.RUNNING: ("running", PURPLE),
}
MOST_INCHES = 8.0
MOST_BARS = 500
FEW_INCHES = 4.0  # the height of the figure if it shows a sample
THIN = 100  # of the height of a sample, a bar has this part
UNITS = (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))  # the largest with at least two is used


def plot_timeline(stored: StoredStudy) -> Figure:
    """Plot a bar for each trial from its start to its end; a running trial ends at the last time in the study.

    Raises:
        Error: no trial has started.
    """
    trials = [trial for trial in stored.trials if trial.datetime_start is not None]
    if not trials:
        raise Error("no trial has started.")
    begun = min(_start(trial) for trial in trials)
    known = max([*(_start(trial) for trial in trials), *filter(None, (trial.datetime_complete for trial in trials))])
    bars = [
        (trial, _seconds(begun, _start(trial)), _seconds(begun, trial.datetime_complete or known)) for trial in trials
    ]
    num = {name: sum(STATES[trial.state][0] == name for trial in trials) for name, _ in STATES.values()}
    again = [trial for trial in trials if TrialRecord(trial).attempts > 1]
    shown = thinned(bars, MOST_BARS)
    fewer = f" {MOST_BARS} bars are shown, evenly spaced; the file of numbers has all." if shown != bars else ""
    unit, length = _unit(_seconds(begun, known))
    return Figure(
        name="timeline",
        title="Timeline",
        caption=f"{len(trials)} trials in {_seconds(begun, known) / length:.1f} {unit}: "
        f"{', '.join(f'{count} {name}' for name, count in num.items() if count)}. "
        + (f"{len(again)} needed more than one attempt." if again else "None needed more than one attempt.")
        + fewer,
        plot=_plot(shown, unit, length, is_sample=bool(fewer)),
        interactive=_plot_interactive(shown, unit, length),
        columns=("trial", "state", "start_s", "end_s", "epochs", "attempts"),
        rows=[
            (trial.number, STATES[trial.state][0], start, end, num_epochs(trial), TrialRecord(trial).attempts)
            for trial, start, end in bars
        ],
    )


def _start(trial: FrozenTrial) -> datetime:
    assert trial.datetime_start is not None
    return trial.datetime_start


def _seconds(begun: datetime, moment: datetime) -> float:
    return (moment - begun).total_seconds()


def _unit(seconds: float) -> tuple[str, float]:
    return next((unit for unit in UNITS if seconds >= 2 * unit[1]), UNITS[-1])


def _plot(bars: list[tuple[FrozenTrial, float, float]], unit: str, length: float, *, is_sample: bool) -> Any:
    with canvas(height=FEW_INCHES if is_sample else min(MOST_INCHES, 0.9 + 0.14 * len(bars))) as page:
        axes = page.add_subplot()
        for name, color in STATES.values():
            own = [bar for bar in bars if STATES[bar[0].state][0] == name]
            if own:
                axes.barh(
                    [trial.number for trial, _, _ in own],
                    [(end - start) / length for _, start, end in own],
                    left=[start / length for _, start, _ in own],
                    height=bars[-1][0].number / THIN if is_sample else 0.75,
                    color=color,
                    edgecolor=color if is_sample else None,  # a bar of a few minutes is narrower than a pixel
                    label=name,
                )
        for trial, _, end in bars:
            attempts = TrialRecord(trial).attempts
            if attempts > 1:
                axes.annotate(
                    f"{attempts} attempts", (end / length, trial.number), xytext=(3, 0), textcoords="offset points",
                    fontsize=6, va="center",
                )  # fmt: skip
        axes.set_xlabel(unit)
        axes.set_ylabel("trial")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.invert_yaxis()
        axes.margins(y=0.02)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return page


def _plot_interactive(bars: list[tuple[FrozenTrial, float, float]], unit: str, length: float) -> Any:
    import plotly.graph_objects as go

    figure = go.Figure(layout=INTERACTIVE)
    for name, color in STATES.values():
        own = [bar for bar in bars if STATES[bar[0].state][0] == name]
        if own:
            figure.add_bar(
                y=[trial.number for trial, _, _ in own],
                x=[(end - start) / length for _, start, end in own],
                base=[start / length for _, start, _ in own],
                orientation="h",
                name=name,
                marker_color=color,
                text=[escaped(f"{title_of(trial)}, {num_epochs(trial)} epochs") for trial, _, _ in own],
                textposition="none",
                hovertemplate="%{text}<extra></extra>",
            )
    figure.update_layout(
        barmode="overlay",
        xaxis_title=unit,
        yaxis={"title": "trial", "autorange": "reversed", "dtick": _dtick(len(bars))},
    )
    return figure


def _dtick(num_bars: int) -> int | None:
    """Return the distance of the labels of trials; None leaves it to Plotly."""
    return 1 if num_bars < 40 else 10 if num_bars < MOST_BARS else None
