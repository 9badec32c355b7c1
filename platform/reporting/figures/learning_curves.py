"""The objective of every trial by epoch.

Unlike Optuna's, it tells apart the best trial, baselines, and pruned and running trials.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from optuna.trial import FrozenTrial, TrialState

from platform.read_only_study import StoredStudy
from platform.reporting.figures.figure import Figure
from platform.reporting.figures.look import GRAY, INTERACTIVE, canvas
from platform.reporting.figures.selection import STANDING_OUT
from platform.reporting.figures.trials import COLORS, axis_of, by_kind, escaped, scaled, title_of
from platform.trial_record import TrialRecord
from shards_tools.errors import Error

MOST_CURVES = 300  # beyond this, bands replace the lines of trials that do not stand out
# The lower and upper quantile of each band, its opacity and its name.
BANDS = ((0.05, 0.95, 0.25, "5 to 95 % of trials"), (0.25, 0.75, 0.5, "25 to 75 % of trials"))
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
    lines = curves if len(curves) <= MOST_CURVES else [curve for curve in curves if curve[0] in STANDING_OUT]
    bands = quantiles_of(stored, curves) if len(curves) > MOST_CURVES else {}
    rows = [
        (trial.number, kind, epoch, value)
        for kind, trial in sorted(curves, key=lambda curve: curve[1].number)
        for epoch, value in sorted(trial.intermediate_values.items())
    ]
    return Figure(
        name="learning_curves",
        title="Learning curves",
        caption=_describe(stored, curves, has_bands=bool(bands)),
        plot=_plot(stored, lines, bands),
        interactive=_plot_interactive(stored, lines, bands),
        columns=("trial", "kind", "epoch", stored.objective),
        rows=rows,
    )


def quantiles_of(stored: StoredStudy, curves: list[tuple[str, FrozenTrial]]) -> dict[float, dict[int, float]]:
    """Return quantile -> epoch -> its value among the trials that reached the epoch, in the unit of `axis_of`."""
    by_epoch: dict[int, list[float]] = defaultdict(list)
    for _, trial in curves:
        for epoch, value in trial.intermediate_values.items():
            if math.isfinite(value):
                by_epoch[epoch].append(scaled(stored.objective, value))
    wanted = [0.5, *(end for low, high, *_ in BANDS for end in (low, high))]
    found = {epoch: np.quantile(values, wanted).tolist() for epoch, values in sorted(by_epoch.items())}
    return {quantile: {epoch: own[at] for epoch, own in found.items()} for at, quantile in enumerate(wanted)}


def _points(stored: StoredStudy, trial: FrozenTrial) -> tuple[list[int], list[float]]:
    epochs = sorted(trial.intermediate_values)
    return epochs, [scaled(stored.objective, trial.intermediate_values[epoch]) for epoch in epochs]


def _plot(stored: StoredStudy, curves: list[tuple[str, FrozenTrial]], bands: dict[float, dict[int, float]]) -> Any:
    with canvas(height=3.4) as page:
        axes = page.add_subplot()
        chance = stored.last_start.get("chance", {}).get(stored.objective)
        if chance is not None:
            axes.axhline(100 * chance, color=GRAY, linewidth=1, linestyle=":", label="chance")
        if bands:
            for low, high, alpha, name in BANDS:
                ends = list(bands[low].values()), list(bands[high].values())
                axes.fill_between(list(bands[low]), *ends, color=GRAY, alpha=alpha, linewidth=0, label=name)
            axes.plot(list(bands[0.5]), list(bands[0.5].values()), color=GRAY, linewidth=1.5, label="median")
        seen: dict[str, int] = {}
        for kind, trial in curves:
            epochs, values = _points(stored, trial)
            place = seen[kind] = seen.get(kind, 0) + 1
            stands_out = kind in STANDING_OUT
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


def _plot_interactive(
    stored: StoredStudy, curves: list[tuple[str, FrozenTrial]], bands: dict[float, dict[int, float]]
) -> Any:
    import plotly.graph_objects as go

    figure = go.Figure(layout=INTERACTIVE)
    for quantile, own in sorted(bands.items()):
        figure.add_scatter(
            x=list(own),
            y=list(own.values()),
            mode="lines",
            name=f"{100 * quantile:.0f} %",
            line={"color": GRAY, "width": 2 if quantile == 0.5 else 0.5},
            hovertemplate=f"{100 * quantile:.0f} % of trials are below<br>epoch %{{x}}: %{{y:.2f}}<extra></extra>",
        )
    for kind, trial in curves:
        epochs, values = _points(stored, trial)
        figure.add_scatter(
            x=epochs,
            y=values,
            mode="lines+markers",
            name=escaped(f"{trial.number}: {title_of(trial)}" if TrialRecord(trial).baseline else f"{trial.number}"),
            line={"color": COLORS[kind], "width": 3 if kind == "best" else 1.5},
            opacity=1 if kind in STANDING_OUT else 0.5,
            hovertemplate=f"trial {trial.number} ({kind})<br>epoch %{{x}}: %{{y:.2f}}<extra></extra>",
        )
    figure.update_layout(xaxis_title="epoch", yaxis_title=axis_of(stored.objective), legend_title="trial")
    return figure


def _describe(stored: StoredStudy, curves: list[tuple[str, FrozenTrial]], *, has_bands: bool) -> str:
    pruned = [trial for _, trial in curves if trial.state == TrialState.PRUNED]
    best = stored.best
    begun = f"{axis_of(stored.objective)} after each epoch of {len(curves)} trials. {len(pruned)} of them were pruned"
    lead = ""
    if best is not None and best.intermediate_values:
        first, last = min(best.intermediate_values), max(best.intermediate_values)
        ends = [scaled(stored.objective, best.intermediate_values[epoch]) for epoch in (first, last)]
        lead = f" The best, trial {best.number}, has {ends[0]:.2f} in epoch {first} and {ends[1]:.2f} in epoch {last}."
    if has_bands:
        how = (
            "The gray bands hold the middle half and the middle 90 % of the trials that reached each epoch; the gray"
            " line is their median. Pruned trials leave the bands, so the bands rise there. The other lines are the"
            " best trial and the baselines."
        )
        return f"{begun}. {how}{lead} The file of numbers has the curve of every trial."
    return f"{begun}, marked with a cross at the end of the line.{lead}"
