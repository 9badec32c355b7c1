"""A figure: drawn for print, to explore, and as the numbers that it shows."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import matplotlib
import matplotlib.figure

from platform.figures.look import SETTINGS
from shards_tools.command import say
from shards_tools.errors import Error

if TYPE_CHECKING:  # its import takes a second that most commands need not wait for
    import plotly.graph_objects

Thing = TypeVar("Thing")  # that figures are drawn of


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of a report."""

    name: str  # of its files, without ending
    title: str
    says: str  # what it shows, in a sentence or two with the numbers that matter: for whoever cannot see it
    drawn: matplotlib.figure.Figure
    explore: plotly.graph_objects.Figure | None = None  # None: there is nothing to point at
    columns: tuple[str, ...] = ()  # of the numbers that are drawn
    rows: Sequence[Sequence[Any]] = field(default=(), repr=False)

    def as_csv(self) -> str:
        """The numbers that are drawn, with their columns' names first."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.columns, *self.rows])
        return text.getvalue()

    def as_png(self, dpi: int = 150) -> bytes:
        """The drawing as pixels, on white."""
        return self._saved("png", dpi=dpi, facecolor="white")

    def as_pdf(self) -> bytes:
        """The drawing for a paper; the same numbers give the same bytes."""
        return self._saved("pdf", dpi=300, metadata={"CreationDate": None})

    def as_svg(self) -> str:
        """The drawing to stand in a page: the colour of the page's text, light or dark, takes the place of black."""
        text = self._saved(
            "svg", dpi=150, transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
        drawing = text.decode()[text.index(b"<svg") :].replace("#000000", "currentColor")
        # What is black is often left without a colour, since that is what SVG then takes.
        return drawing.replace("<svg", '<svg fill="currentColor"', 1)

    def _saved(self, kind: str, **options: Any) -> bytes:
        content = io.BytesIO()
        with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
            # A name in letters that no installed font has is drawn as boxes; as SVG it is whole.
            warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
            self.drawn.savefig(content, format=kind, **options)
        return content.getvalue()


def drawn_of(thing: Thing, draws: Iterable[Callable[[Thing], Figure]], what: str) -> list[Figure]:
    """The figures of one thing; one that it has not the numbers for is left out, and said."""
    figures = []
    for draw in draws:
        try:
            figures.append(draw(thing))
        except Error as reason:
            name = draw.__name__.removeprefix("draw_").replace("_", " ")
            say(f"left out of the figures of {what}: {name}: {reason}")
    return figures
