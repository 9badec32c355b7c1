"""Draws of a space in which every choice of every parameter stands."""

from collections.abc import Mapping
from typing import Any

from optuna.distributions import CategoricalDistribution, json_to_distribution

from platform.spaces.loading import Space


def covering_draws(space: Space) -> list[Mapping[str, Any]]:
    """A few of the space's random draws that show each parameter, and each choice of those that have some."""
    choosing = {
        name
        for name, text in space.distributions.items()
        if type(json_to_distribution(text)) is CategoricalDistribution
    }
    shown = [{(name, str(value) if name in choosing else "") for name, value in draw.items()} for draw in space.draws]
    missing, taken = set().union(*shown), []
    while missing:
        best = max(range(len(shown)), key=lambda number: len(shown[number] & missing))
        missing -= shown[best]
        taken.append(space.draws[best])
    return taken
