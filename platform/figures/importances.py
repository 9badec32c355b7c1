"""Which parameters the good trials owe it to, by Optuna's own measure."""

from __future__ import annotations

import warnings
from typing import Any

import optuna
from optuna.trial import TrialState

from platform.figures.explore import escaped, on_white
from platform.figures.figure import Figure
from platform.figures.look import BLUE, canvas
from platform.figures.trials import plain
from platform.stored_study import StoredStudy
from shards_tools.errors import Error

FEWEST_COMPLETE = 5  # of fewer nothing can be said
ROW_INCHES = 0.24


def importances_of(stored: StoredStudy) -> dict[str, float]:
    """Parameter -> its part of the whole, the largest first; of the first objective, over complete trials alone.

    Optuna's default: PED-ANOVA (Watanabe et al. 2023, arXiv 2304.10255), which compares where the best tenth of the
    trials lies with where all lie.
    """
    complete = stored.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < FEWEST_COMPLETE:
        raise Error(f"{len(complete)} trials are complete; importances need {FEWEST_COMPLETE} at least.")
    several = len(stored.objectives) > 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of parameters that few trials have
        found = optuna.importance.get_param_importances(
            stored.study, target=(lambda trial: trial.values[0]) if several else None
        )
    return dict(sorted(found.items(), key=lambda entry: (-entry[1], entry[0])))


def draw_importances(stored: StoredStudy) -> Figure:
    """A bar for each parameter."""
    found = importances_of(stored)
    complete = len(stored.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    first = ", ".join(f"{name} ({100 * part:.0f} %)" for name, part in list(found.items())[:3])
    return Figure(
        name="importances",
        title="Importances",
        says=f"How far the best tenth of {complete} complete trials differs from all of them in each parameter, as"
        f" parts of the whole: most in {first}. A parameter that only some trials have is measured among those."
        f"{' So few trials say little.' if complete < 20 else ''}",
        drawn=_drawn(found),
        explore=_explore(found),
        columns=("parameter", "importance"),
        rows=list(found.items()),
    )


def _drawn(found: dict[str, float]) -> Any:
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


def _explore(found: dict[str, float]) -> Any:
    import plotly.graph_objects as go

    names = [escaped(name) for name in found]
    figure = go.Figure(go.Bar(x=[100 * part for part in found.values()], y=names, orientation="h", marker_color=BLUE))
    figure.update_layout(xaxis_title="importance, %", yaxis={"autorange": "reversed"})
    return on_white(figure)
