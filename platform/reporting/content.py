"""The content of a report, which the templates render."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from platform.objectives import COSTS
from platform.terminal import lines
from trainables.evaluation.metric_names import COLUMNS

if TYPE_CHECKING:
    from platform.reporting.figures.figure import Figure

SPOKEN_COSTS = {"num_parameters": "parameters", "gpu_mb": "GPU memory", "ms_per_image": "time per image"}
NOTHING = "\N{EN DASH}"  # an empty cell


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of formatted cells; the first cell of each row is its heading."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    folded: bool = False  # collapsed until the reader opens it


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of the report."""

    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    commands: Sequence[tuple[str, str]] = ()  # what each does, and the command
    figures: Sequence[Figure] = ()

    @property
    def anchor(self) -> str:
        """The section's ID in the page."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.title.lower())


@dataclass(frozen=True, kw_only=True)
class Content:
    """A whole report."""

    study: str
    about: str  # the space, the scale and the objective
    summary: str  # the result in a few sentences
    headline: Sequence[tuple[str, str, str]]  # the name, value and remark of each main number
    sections: Sequence[Section]
    missing: Sequence[str]  # what the report lacks, and why

    @property
    def figures(self) -> list[Figure]:
        """The figures of all sections."""
        return [figure for section in self.sections for figure in section.figures]


def spoken(name: str) -> str:
    """Return the name of a metric or a cost in a sentence."""
    return {**COLUMNS, **SPOKEN_COSTS}.get(name, name).removesuffix(" %")


def heading(name: str) -> str:
    """Return the name of a metric or a cost as a column heading, with its unit."""
    return name if name in COSTS else COLUMNS.get(name, f"{name} %")


def cell(name: str, value: float | None) -> str:
    """Format a value of a metric or a cost; a dash if it is None or NaN."""
    return NOTHING if value is None or math.isnan(value) else lines.cell(name, value)
