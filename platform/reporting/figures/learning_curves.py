"""The objective of every trial by epoch.

Unlike Optuna's, it tells apart the best trial, baselines, and pruned and running trials.
"""

from __future__ import annotations

from typing import Any

from matplotlib.ticker import MaxNLocator
from optuna.trial import FrozenTrial, TrialState

from platform.read_only_study import StoredStudy
from platform.reporting.figures.figure import Figure
from platform.reporting.figures.look import GRAY, INTERACTIVE, canvas
from platform.reporting.figures.trials import COLORS, axis_of, by_kind, escaped, scaled, title_of
from platform.trial_record import TrialRecord
from shards_tools.errors import Error

MOST_NAMED = 4  # baselines of each kind that the legend lists by name
DASHES = ("-", "--", "-.", ":")


def plot_learning_curves(stored: StoredStudy) -> Figure:
    """Plot a line for each trial, with different styles for the best trial, baselines and pruned trials.

    Raises:
        Error: no trial has reported an epoch.
    """
    curves = [(kind, trial) for kind, trials in by_kind(stored) for trial in trials if trial.intermediate_values]
    if not curves:
        raise Error("no trial has reported an epoch; with several objectives, Optuna stores none.")
    rows = [
        (trial.number, kind, epoch, value)
        for kind, trial in sorted(curves, key=lambda curve: curve[1].number)
        for epoch, value in sorted(trial.intermediate_values.items())
    ]
    return Figure(
        name="learning_curves",
        title="Learning curves",
        caption=_describe(stored, curves),
        plot=_plot(stored, curves),
        interactive=_plot_interactive(stored, curves),
        columns=("trial", "kind", "epoch", stored.objective),
        rows=rows,
    )


def _points(stored: StoredStudy, trial: FrozenTrial) -> tuple[list[int], list[float]]:
    epochs = sorted(trial.intermediate_values)
    return epochs, [scaled(stored.objective, trial.intermediate_values[epoch]) for epoch in epochs]


def _plot(stored: StoredStudy, curves: list[tuple[str, FrozenTrial]]) -> Any:
    with canvas(height=3.4) as page:
        axes = page.add_subplot()
        chance = stored.last_start.get("chance", {}).get(stored.objective)
        if chance is not None:
            axes.axhline(100 * chance, color=GRAY, linewidth=1, linestyle=":", label="chance")
        seen: dict[str, int] = {}
        for kind, trial in curves:
            epochs, values = _points(stored, trial)
            place = seen[kind] = seen.get(kind, 0) + 1
            stands_out = kind in ("best", "paper row", "set by hand")
            named = kind != "best" and stands_out and place <= MOST_NAMED
            name = title_of(trial) if named else f"best: {title_of(trial)}" if kind == "best" else kind
            axes.plot(
                epochs,
                values,
                color=COLORS[kind],
                linestyle=DASHES[(place - 1) % len(DASHES)] if named else "-",
                linewidth=2.4 if kind == "best" else 1.5 if stands_out else 0.8,
                alpha=1 if stands_out else 0.55,
                marker="x" if trial.state == TrialState.PRUNED else "o" if len(epochs) == 1 else None,
                markevery=[-1],
                markersize=5,
                label=name if named or place == 1 else None,
            )
        axes.set_xlabel("epoch")
        axes.set_ylabel(axis_of(stored.objective))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        handles, names = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], names[::-1], loc="center left", bbox_to_anchor=(1.01, 0.5))
    return page


def _plot_interactive(stored: StoredStudy, curves: list[tuple[str, FrozenTrial]]) -> Any:
    import plotly.graph_objects as go

    figure = go.Figure(layout=INTERACTIVE)
    for kind, trial in curves:
        epochs, values = _points(stored, trial)
        figure.add_scatter(
            x=epochs,
            y=values,
            mode="lines+markers",
            name=escaped(f"{trial.number}: {title_of(trial)}" if TrialRecord(trial).baseline else f"{trial.number}"),
            line={"color": COLORS[kind], "width": 3 if kind == "best" else 1.5},
            opacity=1 if kind in ("best", "paper row", "set by hand") else 0.5,
            hovertemplate=f"trial {trial.number} ({kind})<br>epoch %{{x}}: %{{y:.2f}}<extra></extra>",
        )
    figure.update_layout(xaxis_title="epoch", yaxis_title=axis_of(stored.objective), legend_title="trial")
    return figure


def _describe(stored: StoredStudy, curves: list[tuple[str, FrozenTrial]]) -> str:
    pruned = [trial for _, trial in curves if trial.state == TrialState.PRUNED]
    best = stored.best
    begun = f"{axis_of(stored.objective)} after each epoch of {len(curves)} trials. {len(pruned)} of them were pruned"
    lead = ""
    if best is not None and best.intermediate_values:
        first, last = min(best.intermediate_values), max(best.intermediate_values)
        ends = [scaled(stored.objective, best.intermediate_values[epoch]) for epoch in (first, last)]
        lead = f" The best, trial {best.number}, has {ends[0]:.2f} in epoch {first} and {ends[1]:.2f} in epoch {last}."
    return f"{begun}, marked with a cross at the end of the line.{lead}"
