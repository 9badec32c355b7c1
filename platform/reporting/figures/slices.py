"""The objective against each parameter.

Unlike Optuna's, it has pruned and running trials and fits the width of a page.
"""

from __future__ import annotations

from typing import Any

from matplotlib.ticker import NullFormatter
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from platform.read_only_study import StoredStudy
from platform.reporting.figures.figure import Figure
from platform.reporting.figures.look import FULL_WIDTH, INTERACTIVE, canvas
from platform.reporting.figures.selection import note_on_points, shown_points
from platform.reporting.figures.trials import (
    COLORS,
    axis_of,
    choices_of,
    distributions_of,
    escaped,
    plain,
    plot_trials,
    setting,
    with_value,
)

ACROSS = 4
PANEL_INCHES = 1.5
LONGEST_CHOICE = 18
MARGIN = 0.05  # at each end of a range, as a fraction of it
Points = list[tuple[str, FrozenTrial, float]]


def plot_slices(stored: StoredStudy) -> Figure:
    """Plot a panel for each parameter, with a point for each trial that has it.

    Raises:
        Error: no trial has reported a value.
    """
    points = with_value(stored)
    distributions = distributions_of(stored.trials)
    shown = shown_points(points)
    rows = [
        (name, trial.number, kind, trial.params[name], value)
        for name in distributions
        for kind, trial, value in sorted(points, key=lambda point: point[1].number)
        if name in trial.params
    ]
    return Figure(
        name="slices",
        title="Objective by parameter",
        caption=f"{axis_of(stored.objective)} after the last epoch of {len(points)} trials against each of"
        f" {len(distributions)} parameters. Open points are pruned trials. A panel has only the trials that have its"
        f" parameter.{note_on_points(len(shown), len(points))}",
        plot=_plot(stored, shown, distributions),
        interactive=_plot_interactive(stored, shown, distributions),
        columns=("parameter", "trial", "kind", "setting", axis_of(stored.objective)),
        rows=rows,
    )


def _plot(stored: StoredStudy, points: Points, distributions: dict[str, BaseDistribution]) -> Any:
    down = -(-len(distributions) // ACROSS)
    with canvas(width=FULL_WIDTH, height=0.5 + PANEL_INCHES * down) as page:
        panels = list(page.subplots(down, ACROSS, sharey=True, squeeze=False).flat)
        for axes, (name, distribution) in zip(panels, distributions.items(), strict=False):
            _plot_panel(axes, name, distribution, points)
        for axes in panels[len(distributions) :]:
            axes.set_axis_off()
        page.supylabel(axis_of(stored.objective), fontsize=8)
        shown = {
            text: handle for axes in page.axes for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        page.legend(list(shown.values())[::-1], list(shown)[::-1], loc="outside upper left", ncols=len(shown))
    return page


def _plot_panel(axes: Any, name: str, distribution: BaseDistribution, points: Points) -> None:
    choices = choices_of(distribution)
    for kind in COLORS:
        own = [(trial, value) for of, trial, value in points if of == kind and name in trial.params]
        if own:
            places = [_place(distribution, trial.params[name]) for trial, _ in own]
            plot_trials(axes, places, [value for _, value in own], kind)
    axes.set_title(plain(name), fontsize=8)
    if choices is None:
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        if distribution.log:
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
        ends = [_place_at(distribution, part) for part in (-MARGIN, 1 + MARGIN)]
        axes.set_xlim(*ends)
    else:
        axes.set_xlim(-0.5, len(choices) - 0.5)
        short = [choice if len(choice) <= LONGEST_CHOICE else f"{choice[: LONGEST_CHOICE - 1]}…" for choice in choices]
        turned = sum(len(choice) for choice in short) > 16
        axes.set_xticks(
            range(len(choices)), short, rotation=30 if turned else 0, ha="right" if turned else "center", fontsize=7
        )


def _place_at(distribution: FloatDistribution | IntDistribution, part: float) -> float:
    """Return the number at a fraction of a range, on its scale; below 0 and above 1 it is outside the range."""
    low, high = float(distribution.low), float(distribution.high)
    return low * (high / low) ** part if distribution.log else low + part * (high - low)


def _place(distribution: BaseDistribution, value: Any) -> float:
    return float(distribution.to_internal_repr(value))


def _plot_interactive(stored: StoredStudy, points: Points, distributions: dict[str, BaseDistribution]) -> Any:
    """Plot one panel with a menu of the parameters."""
    import plotly.graph_objects as go

    figure = go.Figure(layout=INTERACTIVE)
    for shown, (name, distribution) in enumerate(distributions.items()):
        own = [point for point in points if name in point[1].params]
        categorical = choices_of(distribution) is not None
        settings = [point[1].params[name] for point in own]
        figure.add_scatter(
            x=[escaped(setting(value)) for value in settings] if categorical else settings,
            y=[value for _, _, value in own],
            mode="markers",
            visible=shown == 0,
            marker={"color": [COLORS[kind] for kind, _, _ in own], "size": 9},
            text=[f"trial {trial.number} ({kind})" for kind, trial, _ in own],
            hovertemplate="%{text}<br>%{x}: %{y:.2f}<extra></extra>",
        )
    figure.update_layout(yaxis_title=axis_of(stored.objective), showlegend=False)
    axes = {name: _axis(name, distribution) for name, distribution in distributions.items()}
    buttons = [
        {"label": axis["xaxis.title.text"], "method": "update", "args": [{"visible": [n == name for n in axes]}, axis]}
        for name, axis in axes.items()
    ]
    figure.update_layout(next(iter(axes.values())))
    figure.update_layout(
        updatemenus=[{"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.12, "yanchor": "bottom"}], margin_t=70
    )
    return figure


def _axis(name: str, distribution: BaseDistribution) -> dict[str, Any]:
    """Return the settings of a parameter's axis in Plotly; choices keep their order."""
    title = {"xaxis.title.text": escaped(name)}
    if isinstance(distribution, CategoricalDistribution):
        choices = [escaped(setting(choice)) for choice in distribution.choices]
        order = {"xaxis.categoryorder": "array", "xaxis.categoryarray": choices}
        return {**title, "xaxis.type": "category", **order}
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return {**title, "xaxis.type": "log" if distribution.log else "linear"}
