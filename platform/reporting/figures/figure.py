"""A figure of a report: a plot for print, optionally an interactive one, and the plotted numbers."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import matplotlib
import matplotlib.figure

from platform.reporting.figures.look import SETTINGS
from shards_tools.command import say
from shards_tools.errors import Error
from shards_tools.plain_text import csv_text

if TYPE_CHECKING:  # importing it takes a second, which most commands do not need
    import plotly.graph_objects

Source = TypeVar("Source")  # of the figures: a study, or the answers of a model


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of a report."""

    name: str  # of its files, without suffix
    title: str
    caption: str  # also the text alternative: what the figure shows, in a few sentences with the main numbers
    plot: matplotlib.figure.Figure
    interactive: plotly.graph_objects.Figure | None = None  # None: no interactive version
    columns: tuple[str, ...] = ()  # of the plotted numbers
    rows: Sequence[Sequence[Any]] = field(default=(), repr=False)

    def as_csv(self) -> str:
        """Return the plotted numbers as CSV with a header."""
        return csv_text(self.columns, self.rows)

    def as_png(self, dpi: int = 150) -> bytes:
        """Return the plot as PNG, on white."""
        return self._saved("png", dpi=dpi, facecolor="white")

    def as_pdf(self) -> bytes:
        """Return the plot as PDF; the same numbers give the same bytes."""
        return self._saved("pdf", dpi=300, metadata={"CreationDate": None})

    def as_svg(self) -> str:
        """Return the plot as SVG to embed in a page; black becomes the page's text color, light or dark."""
        text = self._saved(
            "svg", dpi=150, transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
        svg = text.decode()[text.index(b"<svg") :].replace("#000000", "currentColor")
        # Black elements often have no fill attribute, because black is SVG's default.
        return svg.replace("<svg", '<svg fill="currentColor"', 1)

    def _saved(self, kind: str, **options: Any) -> bytes:
        content = io.BytesIO()
        with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
            # Characters that no installed font has are rendered as boxes, except in SVG, which keeps the text.
            warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
            self.plot.savefig(content, format=kind, **options)
        return content.getvalue()


def make_figures(source: Source, plots: Iterable[Callable[[Source], Figure]], what: str) -> list[Figure]:
    """Make the figures of one source; print a message for each figure whose numbers are missing, and omit it.

    Args:
        plots: functions that make a figure, or raise an Error.
        what: the name of the source in messages.
    """
    figures = []
    for plot in plots:
        try:
            figures.append(plot(source))
        except Error as reason:
            name = plot.__name__.removeprefix("plot_").replace("_", " ")
            say(f"Omitted from the figures of {what}: {name}: {reason}")
    return figures
