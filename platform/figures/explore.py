"""Figures to point at: what all of them share."""

from __future__ import annotations

import html
from typing import Any

from platform.figures.look import EXPLORED


def on_white(figure: Any) -> Any:
    """The Plotly figure in the look of the report."""
    figure.update_layout(**EXPLORED, height=480)
    return figure


def escaped(text: object) -> str:
    """A name that Plotly shows as it stands: it takes text for HTML."""
    return html.escape(" ".join(str(text).split()).replace(r"\$", "$"), quote=False)
