"""The results of a table next to the printed numbers: one result per row and metric, in percent."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from platform.finalize.paired_test import Repeated
from platform.fixed_trials import Training, is_left_out
from platform.paper_tables.table import PaperTable
from trainables.evaluation.evaluation import Metrics
from trainables.recipes.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Result(Repeated):
    """One metric of one row, in percent."""

    row: str
    recipe: str
    metric: str
    printed: float | None  # None: the table does not print this metric for this row
    values: Sequence[float]  # of the completed trainings, by fold and seed
    num_wanted: int  # trainings of the row; the mean needs all of them
    num_failed: int
    chance: float

    @property
    def sample(self) -> Sequence[float]:
        """The values of all trainings of the row; empty until each of them is complete."""
        return self.values if len(self.values) == self.num_wanted else ()

    @property
    def difference(self) -> float:
        """The mean minus the printed number; NaN if either is missing."""
        return math.nan if self.printed is None else self.mean - self.printed

    @property
    def status(self) -> str:
        """The number of completed trainings of all, and the number of failed ones, as text."""
        failed = f", {self.num_failed} failed" if self.num_failed else ""
        return f"{len(self.values)}/{self.num_wanted}{failed}"

    def as_json(self) -> dict[str, Any]:
        """Return the entry of the command's JSON; unknown numbers are null."""
        return {
            "name": self.row,
            "recipe": self.recipe,
            "metric": self.metric,
            "printed": self.printed,
            "mean": self.mean,
            "std": self.std,
            "values": list(self.values),
            "chance": self.chance,
            "difference": self.difference,
            "trainings": {"wanted": self.num_wanted, "complete": len(self.values), "failed": self.num_failed},
        }


def results_of(
    table: PaperTable,
    recipes: Mapping[str, Recipe],
    trainings: Collection[Training],
    *,
    known: Mapping[Training, FrozenTrial],
    measured: Mapping[Training, Metrics],
    chance: Mapping[str, float],
) -> list[Result]:
    """Return one result per requested row and metric of the table.

    Args:
        table: the table.
        recipes: the requested rows with their recipes.
        trainings: the requested trainings.
        known: the last trial of each training that has started.
        measured: the metrics of the completed trainings, as fractions.
        chance: the metrics of random features, as fractions.
    """
    results = []
    for row, recipe in recipes.items():
        own = sorted((one for one in trainings if one.of == row), key=lambda one: (one.fold, one.seed))
        done = [measured[training] for training in own if training in measured]
        num_failed = sum(training in known and is_failed(known[training]) for training in own)
        results += [
            Result(
                row=row,
                recipe=recipe.name,
                metric=metric,
                printed=table.printed[row].get(metric),
                values=[100 * metrics[metric] for metrics in done],
                num_wanted=len(own),
                num_failed=num_failed,
                chance=100 * chance[metric],
            )
            for metric in table.metrics
        ]
    return results


def is_failed(trial: FrozenTrial) -> bool:
    """Whether a training ended without a result: by an error, a diverged loss, or too little memory."""
    return trial.state in (TrialState.FAIL, TrialState.PRUNED) and not is_left_out(trial)
