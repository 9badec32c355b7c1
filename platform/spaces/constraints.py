"""The limits of `--at-most`: compare a trial's costs, known beforehand or measured in its first epoch, with them."""

from __future__ import annotations

from collections.abc import Mapping

import optuna
from optuna.trial import FixedTrial, FrozenTrial

from platform.objectives import num_parameters, written
from platform.spaces.loading import Space
from platform.trial_record import TrialRecord
from shards_tools.errors import Error
from trainables.recipes.recipe import Recipe

Limits = Mapping[str, float]  # cost -> its maximum
NUM_TRIED = 50  # samples of a space of which at least one must be within the limits


def check_reachable(limits: Limits, space: Space) -> None:
    """Check that some networks of a space are within the limit on parameters.

    Raises:
        Error: none of the first `NUM_TRIED` samples of the space is.
    """
    if "num_parameters" not in limits:
        return
    smallest = float("inf")
    for draw in space.draws[:NUM_TRIED]:
        smallest = min(smallest, num_parameters(space.recipe(FixedTrial(dict(draw)), None)))
        if smallest <= limits["num_parameters"]:
            return
    raise Error(
        f"--at-most num_parameters={limits['num_parameters']:g}: the smallest of {NUM_TRIED} sampled networks of space"
        f" {space.name} has {smallest:g} parameters. Raise the limit."
    )


def known_costs(recipe: Recipe, limits: Limits) -> dict[str, float]:
    """Return the limited costs that are known before training."""
    return {"num_parameters": num_parameters(recipe)} if "num_parameters" in limits else {}


def judge(trial: optuna.Trial, judged: Mapping[str, float], costs: Mapping[str, float], limits: Limits) -> str:
    """Store in the study by how much a trial is over or under its limits, and return whether it must end.

    Baselines never end for this, because other trials are compared with them.

    Args:
        judged: the constraints stored so far; only the first value of each cost counts.
        costs: the costs that are known by now.

    Returns:
        The reason to end the trial; empty if it may continue.
    """
    for name in limits:
        if name in costs and name not in judged:
            if costs[name] > limits[name]:
                reason = f"{name} {written(name, costs[name])}, --at-most {written(name, limits[name])}"
                TrialRecord(trial).over_limit = reason
            trial.set_constraint(name, costs[name] / limits[name] - 1)
    return "" if TrialRecord(trial).baseline else TrialRecord(trial).over_limit


def is_over(trial: FrozenTrial) -> bool:
    """Return whether the trial exceeds a limit."""
    return any(excess > 0 for excess in trial.constraints.values())
