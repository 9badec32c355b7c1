"""The Pareto front of several objectives.

Unlike Optuna's, it is flat for any number of objectives and names the paper rows and the trials of the front.
"""

from __future__ import annotations

from typing import Any

from optuna.trial import FrozenTrial, TrialState

from platform.objectives import COSTS
from platform.read_only_study import StoredStudy
from platform.reporting.figures.figure import Figure
from platform.reporting.figures.look import BLUE, GRAY, INTERACTIVE, ORANGE, canvas
from platform.reporting.figures.selection import MOST_POINTS, thinned
from platform.reporting.figures.trials import axis_of, escaped, scaled, title_of
from platform.study import front
from platform.trial_record import TrialRecord
from shards_tools.errors import Error


def plot_front(stored: StoredStudy) -> Figure:
    """Plot the first objective against each other one, with the Pareto front in color.

    Raises:
        Error: there is only one objective, or no complete trial.
    """
    if len(stored.objectives) < 2:
        raise Error("the study has only one objective.")
    complete = stored.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        raise Error("no trial is complete.")
    best = front(stored.study)
    numbers = {trial.number for trial in best}
    named = {trial.number for trial in complete if TrialRecord(trial).baseline}
    dominated = [trial.number for trial in complete if trial.number not in numbers | named]
    kept = numbers | named | {*thinned(dominated, MOST_POINTS)}
    shown = [trial for trial in complete if trial.number in kept]
    fewer = f" {len(shown)} trials are shown; the file of numbers has all." if len(shown) < len(complete) else ""
    first, *others = stored.objectives
    ends = "; ".join(
        f"trial {trial.number} with {', '.join(_written(stored, trial))}"
        for trial in {best[0].number: best[0], best[-1].number: best[-1]}.values()
    )
    return Figure(
        name="front",
        title="Pareto front",
        caption=f"{axis_of(first)} against {' and '.join(axis_of(name) for name in others)} of {len(complete)} complete"
        f" trials. {len(best)} are on the Pareto front: no other trial dominates them. Its ends: {ends}.{fewer}",
        plot=_plot(stored, shown, best),
        interactive=_plot_interactive(stored, shown, numbers),
        columns=("trial", "on the front", *stored.objectives),
        rows=[(trial.number, int(trial.number in numbers), *trial.values) for trial in complete],
    )


def _written(stored: StoredStudy, trial: FrozenTrial) -> list[str]:
    return [
        f"{axis_of(name)} {scaled(name, value):.3g}"
        for name, value in zip(stored.objectives, trial.values, strict=True)
    ]


def _plot(stored: StoredStudy, complete: list[FrozenTrial], best: list[FrozenTrial]) -> Any:
    first, *others = stored.objectives
    numbers = {trial.number for trial in best}
    with canvas(height=3.4) as page:
        panels = page.subplots(1, len(others), sharey=True, squeeze=False)[0]
        for axes, (at, name) in zip(panels, enumerate(others, start=1), strict=True):
            for trial in complete:
                x, y = scaled(name, trial.values[at]), scaled(first, trial.values[0])
                on_front = trial.number in numbers
                color = ORANGE if TrialRecord(trial).is_paper_row else BLUE if on_front else GRAY
                axes.plot(x, y, "o", color=color, markerfacecolor=color if on_front else "none", markersize=5)
                if on_front or TrialRecord(trial).baseline:
                    axes.annotate(
                        title_of(trial) if TrialRecord(trial).baseline else str(trial.number),
                        (x, y),
                        xytext=(4, 4),
                        textcoords="offset points",
                        fontsize=7,
                    )
            if len(others) == 1:
                steps = sorted((scaled(name, trial.values[at]), scaled(first, trial.values[0])) for trial in best)
                axes.step(*zip(*steps, strict=True), where="post" if name in COSTS else "pre", color=BLUE, linewidth=1)
            axes.set_xlabel(axis_of(name))
            axes.margins(x=0.12, y=0.12)
        panels[0].set_ylabel(axis_of(first))
    return page


def _plot_interactive(stored: StoredStudy, complete: list[FrozenTrial], numbers: set[int]) -> Any:
    import plotly.graph_objects as go

    first, second = stored.objectives[:2]
    figure = go.Figure(layout=INTERACTIVE)
    for kind, color in (("dominated", GRAY), ("on the front", BLUE)):
        own = [trial for trial in complete if (trial.number in numbers) == (kind == "on the front")]
        figure.add_scatter(
            x=[scaled(second, trial.values[1]) for trial in own],
            y=[scaled(first, trial.values[0]) for trial in own],
            mode="markers",
            name=kind,
            marker={"color": color, "size": 10},
            text=[escaped(f"{title_of(trial)}: {', '.join(_written(stored, trial))}") for trial in own],
            hovertemplate="%{text}<extra></extra>",
        )
    figure.update_layout(xaxis_title=axis_of(second), yaxis_title=axis_of(first))
    return figure
