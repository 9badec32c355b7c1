"""Compares settings by mean and standard deviation over folds or seeds, with a paired test against a paper's row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from platform.finalize.paired_test import PairedTest, Repeated, paired_test, smallest_p


@dataclass(frozen=True, kw_only=True)
class Comparison(Repeated):
    """One trial of the search over several folds or seeds."""

    trial: int
    name: str
    values: dict[int, float]  # by fold or seed
    wanted: Sequence[int]  # the folds or seeds that the mean needs
    reason: str  # why there is no mean; empty if there is one
    reference: str  # the name of the trial that it is tested against; empty if there is none
    test: PairedTest | None  # None for the reference itself, and for trials without a mean
    chance: float

    @property
    def sample(self) -> Sequence[float]:
        """The values of all folds or seeds that the mean needs; empty if one is missing or `reason` is set."""
        whole = not self.reason and all(one in self.values for one in self.wanted)
        return [self.values[one] for one in self.wanted] if whole else []

    def as_json(self) -> dict[str, Any]:
        """Return the entry of the command's JSON; values are fractions, and null if unknown."""
        test = self.test
        return {
            "trial": self.trial,
            "name": self.name,
            "values": {str(one): value for one, value in sorted(self.values.items())},
            "mean": self.mean,
            "std": self.std,
            "reason": self.reason or None,
            "reference": self.reference or None,
            "difference": test and test.difference,
            "p": test and test.p,
            "num_pairs": test and test.num_pairs,
            "smallest_p": test and test.smallest_p,
            "chance": self.chance,
        }


def compare(
    values: Mapping[int, Mapping[int, float]],
    *,
    names: Mapping[int, str],
    reasons: Mapping[int, str],
    reference: int | None,
    wanted: Sequence[int],
    tested: Sequence[int],
    chance: float,
) -> list[Comparison]:
    """Return one comparison per trial, best mean first, and those without a mean last.

    Args:
        values: number of the trial -> fold or seed -> value.
        names: number of the trial -> its name.
        reasons: number of a trial without a mean -> the reason.
        reference: the number of the trial that the others are tested against; None: there is none.
        wanted: the folds or seeds that the means need.
        tested: the folds or seeds whose values are paired in the tests.
        chance: the metric of random features, as a fraction.
    """

    def test_of(number: int) -> PairedTest | None:
        if reference is None or number == reference or reasons.get(number):
            return None
        pairs = [one for one in tested if one in values[number] and one in values.get(reference, {})]
        return paired_test([values[number][one] for one in pairs], [values[reference][one] for one in pairs])

    compared = [
        Comparison(
            trial=number,
            name=names[number],
            values=dict(own),
            wanted=wanted,
            reason=reasons.get(number, ""),
            reference=names[reference] if reference is not None else "",
            test=test_of(number),
            chance=chance,
        )
        for number, own in values.items()
    ]
    return sorted(compared, key=lambda one: (math.isnan(one.mean), -one.mean, one.trial))


def comparison_table(title: str, kind: str, compared: Sequence[Comparison]) -> Table:
    """Return the table to print, in percent; `kind` is `fold` or `seed`."""
    table = Table(title=title, title_justify="left")
    for column in ("", "mean", "std", *(f"{kind} {one}" for one in compared[0].wanted), "difference", "p"):
        table.add_column(column, justify="left" if column == "" else "right")
    for place, cells in enumerate(comparison_rows(compared)):
        table.add_row(*cells, style="bold" if place == 0 else "")
    return table


def comparison_rows(compared: Sequence[Comparison], unknown: str = "") -> list[list[str]]:
    """Return the cells of the table, in percent: name, mean, std, folds or seeds, difference, p; chance comes last."""

    def percent(value: float) -> str:
        return unknown if math.isnan(value) else f"{100 * value:.2f}"

    rows = []
    for one in compared:
        values = [percent(one.values.get(at, math.nan)) for at in one.wanted]
        test = one.test if one.test and one.test.num_pairs else None
        tested = [f"{100 * test.difference:+.2f}", f"{test.p:.3g}"] if test else [unknown, unknown]
        rows.append([one.name, percent(one.mean), percent(one.std), *values, *tested])
    first = compared[0]
    return [*rows, ["chance", percent(first.chance), *[unknown] * (len(first.wanted) + 3)]]


def notes_on(compared: Sequence[Comparison], pairs: str) -> list[str]:
    """Return the notes on the table's last two columns and their limits; `pairs` says what is paired."""
    lines = [f"{one.name}: {one.reason}." for one in compared if one.reason]
    tests = [one.test for one in compared if one.test and one.test.num_pairs]
    if tests:
        num = max(test.num_pairs for test in tests)
        num_pairs = "1 pair" if num == 1 else f"{num} pairs"
        lines.append(
            f"Difference: to {compared[0].reference}, mean of {num_pairs} ({pairs}). p: exact two-sided paired"
            f" sign-flip test; with {num_pairs} it is at least {smallest_p(num):.3g}. It is not corrected for multiple"
            " comparisons."
        )
    elif len(compared) > 1:
        lines.append("There is nothing to compare with: no baseline has a mean.")
    return lines
