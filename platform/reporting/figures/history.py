"""The value of each trial in the order of their starts, and the best value so far.

Unlike Optuna's, it has the trials that are not complete, the best paper row and chance.
"""

from __future__ import annotations

from typing import Any

from matplotlib.ticker import MaxNLocator
from optuna.trial import FrozenTrial, TrialState

from platform.read_only_study import StoredStudy
from platform.reporting.figures.figure import Figure
from platform.reporting.figures.look import BLUE, GRAY, ORANGE, canvas
from platform.reporting.figures.selection import note_on_points, shown_points
from platform.reporting.figures.trials import COLORS, axis_of, last_value, plot_trials, title_of, with_value
from platform.spaces.constraints import is_over


def plot_history(stored: StoredStudy) -> Figure:
    """Plot a point for each trial with a value, and the best value of the complete trials so far as a line."""
    points = sorted(((trial, kind, value) for kind, trial, value in with_value(stored)), key=lambda one: one[0].number)
    best = best_so_far([(trial, value) for trial, _, value in points])
    turns = [
        trial.number
        for (trial, _, _), now, before in zip(points[1:], best[1:], best[:-1], strict=True)
        if now != before
    ]
    shown = {trial.number for _, trial, _ in shown_points([(kind, trial, value) for trial, kind, value in points])}
    num_after = sum(trial.number > turns[-1] for trial, _, _ in points) if turns else 0
    last = f" The last improvement is trial {turns[-1]}; {num_after} trials came after it." if turns else ""
    return Figure(
        name="history",
        title="Best so far",
        caption=f"{axis_of(stored.objective)} after the last epoch of each trial, in the order of their starts; the"
        f" line is the best complete trial so far.{last}{note_on_points(len(shown), len(points))}",
        plot=_plot(
            stored,
            [point for point in points if point[0].number in shown],
            [
                (trial.number, now)
                for (trial, _, _), now in zip(points, best, strict=True)
                if now is not None and (trial.number in shown or trial.number in turns)
            ],
        ),
        columns=("trial", "kind", axis_of(stored.objective), "best so far"),
        rows=[
            (trial.number, kind, value, "" if now is None else now)
            for (trial, kind, value), now in zip(points, best, strict=True)
        ],
    )


def best_so_far(points: list[tuple[FrozenTrial, float]]) -> list[float | None]:
    """Return for each trial the best value up to it, among complete trials within the limits; None before the first."""
    found: list[float | None] = []
    best: float | None = None
    for trial, value in points:
        counts = trial.state == TrialState.COMPLETE and not is_over(trial)
        best = value if counts and (best is None or value > best) else best
        found.append(best)
    return found


def _plot(stored: StoredStudy, points: list[tuple[FrozenTrial, str, float]], line: list[tuple[int, float]]) -> Any:
    with canvas(height=2.6) as page:
        axes = page.add_subplot()
        if line:
            axes.step(*zip(*line, strict=True), where="post", color=BLUE, linewidth=1.2, label="best so far")
        for kind in COLORS:
            own = [(trial.number, value) for trial, of, value in points if of == kind]
            if own:
                numbers, values = zip(*own, strict=True)
                plot_trials(axes, numbers, values, kind)
        row = stored.best_paper_row
        value = None if row is None else last_value(stored, row)
        if row is not None and value is not None:
            axes.axhline(value, color=ORANGE, linewidth=1, linestyle="--", label=title_of(row))
        chance = stored.last_start.get("chance", {}).get(stored.objective)
        if chance is not None:
            axes.axhline(100 * chance, color=GRAY, linewidth=1, linestyle=":", label="chance")
        axes.set_xlabel("trial")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel(axis_of(stored.objective))
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return page
