"""What a trial may take at most: limits on its costs, known before it trains or measured in its first epoch."""

from __future__ import annotations

from collections.abc import Mapping

import optuna
from optuna.trial import FixedTrial, FrozenTrial

from platform.objectives import num_parameters, written
from platform.spaces.loading import Space
from platform.trial_record import TrialRecord
from shards_tools.errors import Error
from trainables.recipes.recipe import Recipe

Limits = Mapping[str, float]  # cost -> the most of it
NUM_TRIED = 50  # draws of which one must keep to the limits


def check_reachable(limits: Limits, space: Space) -> None:
    """Error where none of the first draws of `space` keeps to what can be known of it."""
    if "num_parameters" not in limits:
        return
    smallest = float("inf")
    for draw in space.draws[:NUM_TRIED]:
        smallest = min(smallest, num_parameters(space.recipe(FixedTrial(dict(draw)), None)))
        if smallest <= limits["num_parameters"]:
            return
    raise Error(
        f"--at-most num_parameters={limits['num_parameters']:g}: the smallest network among {NUM_TRIED} draws of space"
        f" {space.name} has {smallest:g}. Allow more."
    )


def known_costs(recipe: Recipe, limits: Limits) -> dict[str, float]:
    """The limited costs that are known before anything is trained."""
    return {"num_parameters": num_parameters(recipe)} if "num_parameters" in limits else {}


def judge(trial: optuna.Trial, judged: Mapping[str, float], costs: Mapping[str, float], limits: Limits) -> str:
    """Tell the study by how much `trial` is over or under its limits; why it ends, empty where it may go on.

    A baseline goes on whatever it takes: it is what others are compared with.

    Args:
        judged: the constraints that the study knows of already; what a trial took first counts.
    """
    for name in limits:
        if name in costs and name not in judged:
            if costs[name] > limits[name]:
                reason = f"{name} {written(name, costs[name])}, --at-most {written(name, limits[name])}"
                TrialRecord(trial).over_limit = reason
            trial.set_constraint(name, costs[name] / limits[name] - 1)
    return "" if TrialRecord(trial).baseline else TrialRecord(trial).over_limit


def is_over(trial: FrozenTrial) -> bool:
    """Whether the trial took more than it may."""
    return any(excess > 0 for excess in trial.constraints.values())
