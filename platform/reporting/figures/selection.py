"""Which trials of a large study a figure shows: thousands of marks hide each other and make the page slow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from optuna.trial import FrozenTrial

MOST_POINTS = 2000  # in a panel
STANDING_OUT = ("set by hand", "paper row", "best")  # kinds that are always shown
Item = TypeVar("Item")
Point = tuple[str, FrozenTrial, float]  # the kind, trial and value


def thinned(items: Sequence[Item], most: int) -> list[Item]:
    """Return at most `most` items, evenly spaced in their order, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[place] for place in np.linspace(0, len(items) - 1, most).round().astype(int)]


def shown_points(points: Sequence[Point]) -> list[Point]:
    """Return all points up to `MOST_POINTS`; of more the baselines, the best quarter of that, and evenly spaced others.

    Their order stays.
    """
    if len(points) <= MOST_POINTS:
        return list(points)
    best = sorted(points, key=lambda point: -point[2])[: MOST_POINTS // 4]
    kept = {trial.number for _, trial, _ in best}
    kept |= {trial.number for kind, trial, _ in points if kind in STANDING_OUT}
    others = sorted(trial.number for _, trial, _ in points if trial.number not in kept)
    kept |= {*thinned(others, max(MOST_POINTS - len(kept), 0))}
    return [point for point in points if point[1].number in kept]


def note_on_points(num_shown: int, num: int) -> str:
    """Return the sentence that says which points are shown; empty if all are."""
    if num_shown == num:
        return ""
    return (
        f" The plot shows {num_shown:,} of the {num:,} trials: the best {MOST_POINTS // 4}, the baselines, and others,"
        " evenly spaced in the order of their starts. The file of numbers has all."
    )
