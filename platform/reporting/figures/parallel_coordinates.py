"""Parallel coordinates: every trial as a line through its settings to its value.

Unlike Optuna's, it keeps the scale of parameters that only some trials have, and its labels do not overlap.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import ListedColormap
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from platform.read_only_study import StoredStudy
from platform.reporting.figures.figure import Figure
from platform.reporting.figures.importances import importances_of
from platform.reporting.figures.look import INTERACTIVE, canvas
from platform.reporting.figures.selection import MOST_POINTS, thinned
from platform.reporting.figures.trials import axis_of, choices_of, distributions_of, escaped, last_value, plain
from shards_tools.errors import Error

MOST_LINES = 300  # more hide each other
NUM_BEST = 75  # of these lines
MOST_AXES = 8  # the names of more would overlap
NOT_USED = -0.14  # the height, below the axis, of lines of trials that lack the parameter
COLORS = ListedColormap(colormaps["viridis"](np.linspace(0.15, 0.8, 256)))  # its ends are hard to see on black or white


def plot_parallel_coordinates(stored: StoredStudy) -> Figure:
    """Plot a vertical axis for each parameter and a line for each trial with a value.

    Raises:
        Error: fewer than two trials have a value.
    """
    trials = [(trial, value) for trial in stored.trials if (value := last_value(stored, trial)) is not None]
    trials.sort(key=lambda entry: entry[1])  # the best is plotted last, above the others
    if len(trials) < 2:
        raise Error("fewer than two trials have reported a value.")
    distributions = distributions_of(stored.trials)
    names, which = _most_important(stored, list(distributions))
    shown = names[:MOST_AXES]
    best = trials[-1]
    lines, fewer = trials, ""
    if len(trials) > MOST_LINES:
        lines = [*thinned(trials[:-NUM_BEST], MOST_LINES - NUM_BEST), *trials[-NUM_BEST:]]
        fewer = (
            f" {MOST_LINES} lines are shown: the {NUM_BEST} best trials, and others, evenly spaced by value."
            " The file of numbers has all."
        )
    of_all = f" the {which} {len(shown)} of {len(names)}" if len(shown) < len(names) else f" {len(names)}"
    return Figure(
        name="parallel_coordinates",
        title="Parallel coordinates",
        caption=f"Each of {len(trials)} trials is a line through{of_all} parameters, colored by"
        f" {axis_of(stored.objective)} after its last epoch: from {trials[0][1]:.2f} to {best[1]:.2f} of trial"
        f" {best[0].number}. A line passes below the axis of a parameter that the trial does not have.{fewer}",
        plot=_plot(stored, lines, {name: distributions[name] for name in shown}),
        interactive=_plot_interactive(
            stored, thinned(trials, MOST_POINTS), {name: distributions[name] for name in shown}
        ),
        columns=("trial", *names, axis_of(stored.objective)),
        rows=[
            (trial.number, *(trial.params.get(name, "") for name in names), value)
            for trial, value in sorted(trials, key=lambda entry: entry[0].number)
        ],
    )


def place_on_axis(distribution: BaseDistribution, setting: Any) -> float:
    """Return the position of a setting on its axis, from 0 to 1; choices are evenly spaced."""
    choices = choices_of(distribution)
    place = float(distribution.to_internal_repr(setting))
    if choices is not None:
        return place / (len(choices) - 1) if len(choices) > 1 else 0.5
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = float(distribution.low), float(distribution.high)
    if distribution.log:
        low, high, place = math.log(low), math.log(high), math.log(place)
    return (place - low) / (high - low) if high > low else 0.5


def _most_important(stored: StoredStudy, names: list[str]) -> tuple[list[str], str]:
    """Sort the names by importance if it is known; return them and the adjective for the first of them."""
    try:
        order = list(importances_of(stored))
    except Error:
        return names, "first"
    return sorted(names, key=lambda name: order.index(name) if name in order else len(order)), "most important"


def _plot(stored: StoredStudy, trials: list[tuple[FrozenTrial, float]], shown: dict[str, BaseDistribution]) -> Any:
    low, high = trials[0][1], trials[-1][1]
    with canvas(height=3.6) as page:
        axes = page.add_subplot()
        for trial, value in trials:
            is_best = trial is trials[-1][0]
            height = (value - low) / (high - low) if high > low else 0.0
            axes.plot(
                *_smooth([*_heights(trial, shown), height]),
                color=COLORS(height),
                linewidth=2.4 if is_best else 1.0,
                alpha=1.0 if is_best else 0.7,
            )
        for at, (name, distribution) in enumerate(shown.items()):
            _plot_axis(axes, at, name, _ticks(distribution))
        parts = [0.0, 0.25, 0.5, 0.75, 1.0] if high > low else [0.0]
        values = [(part, f"{low + part * (high - low):.1f}") for part in parts]
        _plot_axis(axes, len(shown), axis_of(stored.objective), values)
        if any(name not in trial.params for trial, _ in trials for name in shown):
            where: Any = {"xytext": (-4, 0), "textcoords": "offset points", "ha": "right", "va": "center"}
            axes.annotate("not used", (0, NOT_USED), fontsize=6, **where)
        axes.set_xlim(-0.5, len(shown) + 0.35)
        axes.set_ylim(NOT_USED - 0.04, 1.04)
        axes.set_axis_off()
    return page


def _heights(trial: FrozenTrial, shown: dict[str, BaseDistribution]) -> list[float]:
    """Return the height at which the trial's line crosses each axis."""
    return [
        place_on_axis(distribution, trial.params[name]) if name in trial.params else NOT_USED
        for name, distribution in shown.items()
    ]


def _plot_axis(axes: Any, at: int, name: str, ticks: list[tuple[float, str]]) -> None:
    axes.plot([at, at], [0, 1], color="#000000", linewidth=0.8)
    axes.annotate(name, (at, 1), xytext=(-6, 6), textcoords="offset points", rotation=20, fontsize=7, va="bottom")
    for height, text in ticks:
        axes.annotate(text, (at, height), xytext=(3, 0), textcoords="offset points", fontsize=6, va="center")


def _ticks(distribution: BaseDistribution) -> list[tuple[float, str]]:
    """Return the heights and labels of an axis's ticks: every choice, or both ends of a range."""
    choices = choices_of(distribution)
    if choices is not None:
        return [
            (place_on_axis(distribution, setting), text)
            for setting, text in zip(distribution.choices, choices, strict=True)  # type: ignore[attr-defined]
        ]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return [(0.0, f"{distribution.low:.3g}"), (1.0, f"{distribution.high:.3g}")]


def _smooth(heights: list[float]) -> tuple[Any, Any]:
    """Return a curve through the heights that is horizontal at each axis, so that lines are easy to follow."""
    x = np.linspace(0, len(heights) - 1, 24 * (len(heights) - 1) + 1)
    left = np.minimum(x.astype(int), len(heights) - 2)
    part = x - left
    eased = part * part * (3 - 2 * part)
    values = np.asarray(heights)
    return x, values[left] * (1 - eased) + values[left + 1] * eased


def _plot_interactive(
    stored: StoredStudy, trials: list[tuple[FrozenTrial, float]], shown: dict[str, BaseDistribution]
) -> Any:
    import plotly.graph_objects as go

    dimensions = []
    heights = [_heights(trial, shown) for trial, _ in trials]
    for at, (name, distribution) in enumerate(shown.items()):
        ticks = _ticks(distribution)
        dimensions.append({
            "label": escaped(plain(name)),
            "values": [own[at] for own in heights],
            "range": [NOT_USED, 1],
            "tickvals": [NOT_USED, *(height for height, _ in ticks)],
            "ticktext": ["not used" if at == 0 else "", *(escaped(text) for _, text in ticks)],
        })  # fmt: skip
    values = [value for _, value in trials]
    dimensions.append({"label": axis_of(stored.objective), "values": values})
    line = {"color": values, "colorscale": "Viridis", "showscale": True}
    figure = go.Figure(go.Parcoords(line=line, dimensions=dimensions, labelangle=-15), INTERACTIVE)
    figure.update_layout(margin={"l": 80, "r": 40, "t": 110, "b": 40})
    return figure
