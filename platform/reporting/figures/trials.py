"""The kinds, colors, names and values of trials, shared by all figures of a study."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib.axes
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from platform.objectives import COSTS
from platform.read_only_study import StoredStudy, value_of
from platform.reporting.figures.look import BLUE, GRAY, GREEN, ORANGE, PURPLE, RED
from platform.trial_record import TrialRecord
from shards_tools.errors import Error
from trainables.evaluation.metric_names import COLUMNS

LONGEST_NAME = 28
# The kinds of trials and their colors, in the order of plotting: later kinds are on top and first in legends.
COLORS = {
    "pruned": GRAY,
    "failed": RED,
    "running": PURPLE,
    "complete": GRAY,
    "set by hand": GREEN,
    "paper row": ORANGE,
    "best": BLUE,
}
UNITS = {"num_parameters": "parameters, M", "gpu_mb": "GPU memory, MB", "ms_per_image": "ms per image"}


def kind_of(trial: FrozenTrial, best: FrozenTrial | None) -> str:
    """Return the kind of a trial, a key of COLORS."""
    if best is not None and trial.number == best.number:
        return "best"
    if trial.state == TrialState.FAIL:
        return "failed"
    if TrialRecord(trial).is_paper_row:
        return "paper row"
    if TrialRecord(trial).baseline:
        return "set by hand"
    return {TrialState.RUNNING: "running", TrialState.PRUNED: "pruned"}.get(trial.state, "complete")


def by_kind(stored: StoredStudy) -> list[tuple[str, list[FrozenTrial]]]:
    """Return the trials of each kind that has any, in the order of plotting."""
    best = stored.best
    found: dict[str, list[FrozenTrial]] = {kind: [] for kind in COLORS}
    for trial in stored.trials:
        found[kind_of(trial, best)].append(trial)
    return [(kind, trials) for kind, trials in found.items() if trials]


def title_of(trial: FrozenTrial) -> str:
    """Return the name of a baseline's row, or the number of another trial."""
    return plain(TrialRecord(trial).baseline or f"trial {trial.number}")


def scaled(name: str, value: float) -> float:
    """Convert a value to the unit of `axis_of`: fractions to percent, parameters to millions."""
    return value / 1e6 if name == "num_parameters" else value if name in COSTS else 100 * value


def axis_of(name: str) -> str:
    """Return the axis label of a metric or a cost, with its unit."""
    return UNITS[name] if name in COSTS else COLUMNS.get(name, f"{name} %")


def last_value(stored: StoredStudy, trial: FrozenTrial) -> float | None:
    """Return the first objective after the trial's last epoch, in the unit of `axis_of`; None if it has none."""
    value = value_of(trial, stored.objective)
    return None if value is None else scaled(stored.objective, value)


def with_value(stored: StoredStudy) -> list[tuple[str, FrozenTrial, float]]:
    """Return the kind, trial and last value of every trial that has a value, in the order of plotting.

    Raises:
        Error: no trial has a value.
    """
    found = [
        (kind, trial, value)
        for kind, trials in by_kind(stored)
        for trial in trials
        if (value := last_value(stored, trial)) is not None
    ]
    if not found:
        raise Error("no trial has reported a value.")
    return found


def distributions_of(trials: Iterable[FrozenTrial]) -> dict[str, BaseDistribution]:
    """Return the distribution of every parameter of the trials, in the order of first use."""
    found: dict[str, BaseDistribution] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            found.setdefault(name, distribution)
    return found


def choices_of(distribution: BaseDistribution) -> list[str] | None:
    """Return the choices as labels, in their order; None for a range of numbers."""
    if not isinstance(distribution, CategoricalDistribution):
        return None
    return [plain(setting(choice)) for choice in distribution.choices]


def setting(value: Any) -> str:
    """Format a setting in the notation of `--set`, with four significant digits."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def plain(text: object) -> str:
    """Shorten a name to one line of at most `LONGEST_NAME` characters, and escape dollar signs for matplotlib."""
    words = " ".join(str(text).split())
    short = words if len(words) <= LONGEST_NAME else f"{words[: LONGEST_NAME - 1]}…"
    return short.replace("$", r"\$")


def escaped(text: object) -> str:
    """Escape text for Plotly, which interprets HTML, and undo the escaping of dollar signs for matplotlib."""
    return html.escape(" ".join(str(text).split()).replace(r"\$", "$"), quote=False)


def plot_trials(axes: matplotlib.axes.Axes, xs: Sequence[float], ys: Sequence[float], kind: str) -> None:
    """Plot trials of one kind as points: the best as a star, pruned ones hollow.

    Args:
        axes: where to plot; the points get one entry in its legend.
        xs: numbers of the trials, or positions on a parameter's axis.
        ys: values in the unit of `axis_of`, one per entry of `xs`.
        kind: a key of COLORS.
    """
    axes.plot(
        xs,
        ys,
        linestyle="none",
        marker="*" if kind == "best" else "o",
        markersize=10 if kind == "best" else 4,
        color=COLORS[kind],
        markerfacecolor="none" if kind == "pruned" else COLORS[kind],
        label=kind,
    )
