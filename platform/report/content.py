"""What a report says, in the order in which it is read; how it looks is the templates' business."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from platform.display import lines
from platform.objectives import COSTS
from trainables.metric_names import COLUMNS

if TYPE_CHECKING:
    from platform.figures.figure import Figure

SPOKEN_COSTS = {"num_parameters": "parameters", "gpu_mb": "GPU memory", "ms_per_image": "time per image"}
NOTHING = "\N{EN DASH}"  # in a cell that has no value


@dataclass(frozen=True, kw_only=True)
class Table:
    """Cells as they are read; the first of each row is its heading."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    folded: bool = False  # closed until it is asked for


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the report under a heading of its own."""

    title: str
    says: Sequence[str] = ()
    tables: Sequence[Table] = ()
    commands: Sequence[tuple[str, str]] = ()  # each with what it does
    figures: Sequence[Figure] = ()

    @property
    def anchor(self) -> str:
        """Where links lead."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.title.lower())


@dataclass(frozen=True, kw_only=True)
class Content:
    """A whole report."""

    study: str
    about: str  # of what kind the search is
    answer: str  # in a sentence or two
    headline: Sequence[tuple[str, str, str]]  # what, how much, of what
    sections: Sequence[Section]
    missing: Sequence[str]  # what is not in it, and why

    @property
    def figures(self) -> list[Figure]:
        """Those of all sections."""
        return [figure for section in self.sections for figure in section.figures]


def spoken(name: str) -> str:
    """A metric or a cost as it is called in a sentence."""
    return {**COLUMNS, **SPOKEN_COSTS}.get(name, name).removesuffix(" %")


def heading(name: str) -> str:
    """A metric or a cost over a column."""
    return name if name in COSTS else COLUMNS.get(name, f"{name} %")


def cell(name: str, value: float | None) -> str:
    """A value under its heading, or a dash where there is none."""
    return NOTHING if value is None or math.isnan(value) else lines.cell(name, value)
