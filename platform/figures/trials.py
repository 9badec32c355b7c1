"""How trials are told apart in every figure of a study, and names that are drawn as they stand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from platform.figures.look import BLUE, GREEN, GREY, ORANGE, PURPLE, RED
from platform.objectives import COSTS
from platform.stored_study import StoredStudy, value_of
from platform.trial_record import TrialRecord
from shards_tools.errors import Error
from trainables.metric_names import COLUMNS

LONGEST_NAME = 28
# What a trial is to the reader, in the order of the legend, each with its colour; what comes later is drawn above.
COLOURS = {
    "pruned": GREY,
    "failed": RED,
    "running": PURPLE,
    "complete": GREY,
    "set by hand": GREEN,
    "paper row": ORANGE,
    "best": BLUE,
}
UNITS = {"num_parameters": "parameters, M", "gpu_mb": "GPU memory, MB", "ms_per_image": "ms per image"}


def kind_of(trial: FrozenTrial, best: FrozenTrial | None) -> str:
    """Which of COLOURS the trial is."""
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
    """The trials of each kind that there is, in the order in which they are drawn."""
    best = stored.best
    found = [(kind, [trial for trial in stored.trials if kind_of(trial, best) == kind]) for kind in COLOURS]
    return [(kind, trials) for kind, trials in found if trials]


def title_of(trial: FrozenTrial) -> str:
    """A trial's row, where it is one set by hand, else its number."""
    return plain(TrialRecord(trial).baseline or f"trial {trial.number}")


def scaled(name: str, value: float) -> float:
    """A value in the unit of `axis_of`: fractions in percent, parameters in millions."""
    return value / 1e6 if name == "num_parameters" else value if name in COSTS else 100 * value


def axis_of(name: str) -> str:
    """What stands at the axis of a metric or a cost."""
    return UNITS[name] if name in COSTS else COLUMNS.get(name, f"{name} %")


def last_value(stored: StoredStudy, trial: FrozenTrial) -> float | None:
    """The first objective after the trial's last epoch, in the unit of `axis_of`."""
    value = value_of(trial, stored.objective)
    return None if value is None else scaled(stored.objective, value)


def with_value(stored: StoredStudy) -> list[tuple[str, FrozenTrial, float]]:
    """Kind, trial and last value of every trial that has one, in the order in which they are drawn; Error for none."""
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
    """Every parameter that a trial has, in the order in which they were asked for first."""
    found: dict[str, BaseDistribution] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            found.setdefault(name, distribution)
    return found


def choices_of(distribution: BaseDistribution) -> list[str] | None:
    """The choices as they are drawn, in their order; None for a range of numbers."""
    if not isinstance(distribution, CategoricalDistribution):
        return None
    return [plain(setting(choice)) for choice in distribution.choices]


def setting(value: Any) -> str:
    """A setting as people read it, and as `--set` takes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def plain(text: object) -> str:
    """A name as it stands, in one line and not too long: a dollar sign would begin a formula."""
    words = " ".join(str(text).split())
    short = words if len(words) <= LONGEST_NAME else f"{words[: LONGEST_NAME - 1]}…"
    return short.replace("$", r"\$")
