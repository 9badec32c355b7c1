"""What a trial may take at most: limits on its costs, known before it trains or measured in its first epoch."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Mapping, Sequence

import optuna
from optuna.trial import FixedTrial, FrozenTrial

from platform.objectives import COSTS, num_parameters, refuse_gpu_memory, written
from platform.spaces.loading import Space
from platform.trial_record import TrialRecord
from shards_tools.command import positive_float
from shards_tools.errors import Error, unknown
from trainables.recipes.recipe import Recipe

Limits = Mapping[str, float]  # cost -> the most of it
NUM_TRIED = 50  # draws of which one must keep to the limits


def check_limits(words: Sequence[str]) -> None:
    """Refuse words of --at-most that are no limits.

    Raises:
        Error: a word is not NAME=VALUE with the name of a cost and a positive number, or a cost is limited twice.
    """
    _parsed_limits(words)


def limits_of(words: Sequence[str], num_gpus: int) -> dict[str, float]:
    """Return cost -> limit, from the words NAME=VALUE of --at-most.

    Raises:
        Error: a word is invalid, or GPU memory is limited where there is no GPU.
    """
    limits = _parsed_limits(words)
    refuse_gpu_memory("--at-most", list(limits), num_gpus)
    return limits


def _parsed_limits(words: Sequence[str]) -> dict[str, float]:
    limits: dict[str, float] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in COSTS:
            raise unknown("cost of --at-most", name, COSTS)
        if name in limits:
            raise Error(f"--at-most limits {name} twice. Give each limit once.")
        try:
            limits[name] = positive_float(value)
        except ArgumentTypeError:
            limits[name] = 0.0
        if not limits[name]:
            raise Error(f"--at-most {word}: {value!r} is not a number above 0. Write it like {name}=30e6.")
    return limits


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
