"""The importance of each parameter, as Optuna computes it.

Optuna's own figure has the same numbers, but always in the style of ggplot.
"""

from __future__ import annotations

import warnings
from typing import Any

import optuna
from optuna.trial import TrialState

from platform.read_only_study import StoredStudy
from platform.reporting.figures.figure import Figure
from platform.reporting.figures.look import BLUE, INTERACTIVE, canvas
from platform.reporting.figures.trials import escaped, plain
from shards_tools.errors import Error

FEWEST_COMPLETE = 5  # complete trials; fewer say nothing
ROW_INCHES = 0.24


def importances_of(stored: StoredStudy) -> dict[str, float]:
    """Return the importance of each parameter for the first objective, the largest first; they sum to 1.

    Optuna's default method is PED-ANOVA (Watanabe et al. 2023, arXiv 2304.10255), which compares the distribution of
    the best tenth of the complete trials with that of all of them.

    Raises:
        Error: fewer than `FEWEST_COMPLETE` trials are complete.
    """
    complete = stored.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < FEWEST_COMPLETE:
        raise Error(f"{len(complete)} trials are complete; importances need at least {FEWEST_COMPLETE}.")
    several = len(stored.objectives) > 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna warns about parameters that few trials have
        found = optuna.importance.get_param_importances(
            stored.study, target=(lambda trial: trial.values[0]) if several else None
        )
    return dict(sorted(found.items(), key=lambda entry: (-entry[1], entry[0])))


def plot_importances(stored: StoredStudy) -> Figure:
    """Plot a bar for each parameter.

    Raises:
        Error: fewer than `FEWEST_COMPLETE` trials are complete.
    """
    found = importances_of(stored)
    complete = len(stored.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    first = ", ".join(f"{name} ({100 * part:.0f} %)" for name, part in list(found.items())[:3])
    return Figure(
        name="importances",
        title="Importances",
        caption=f"How much the best tenth of {complete} complete trials differs from all of them in each parameter, as"
        f" a share of the total; the largest: {first}. A parameter that only some trials have is compared among those."
        f"{' With so few trials, this is unreliable.' if complete < 20 else ''}",
        plot=_plot(found),
        interactive=_plot_interactive(found),
        columns=("parameter", "importance"),
        rows=list(found.items()),
    )


def _plot(found: dict[str, float]) -> Any:
    with canvas(height=0.7 + ROW_INCHES * len(found)) as page:
        axes = page.add_subplot()
        names = [plain(name) for name in found]
        bars = axes.barh(range(len(names)), [100 * part for part in found.values()], color=BLUE, height=0.7)
        axes.bar_label(bars, [f"{100 * part:.0f}" if part >= 0.005 else "< 1" for part in found.values()], padding=3)
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.margins(y=0.02)
        axes.set_xlabel("importance, %")
    return page


def _plot_interactive(found: dict[str, float]) -> Any:
    import plotly.graph_objects as go

    names = [escaped(name) for name in found]
    bars = go.Bar(x=[100 * part for part in found.values()], y=names, orientation="h", marker_color=BLUE)
    figure = go.Figure(bars, INTERACTIVE)
    figure.update_layout(xaxis_title="importance, %", yaxis={"autorange": "reversed"})
    return figure
