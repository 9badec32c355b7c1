"""Figures to point at: what all of them share."""

from __future__ import annotations

import html
from typing import Any

FONT = "DejaVu Sans, Verdana, sans-serif"


def on_white(figure: Any) -> Any:
    """The Plotly figure in the look of the report."""
    figure.update_layout(
        template="plotly_white",
        font={"family": FONT, "size": 12},
        margin={"l": 60, "r": 20, "t": 20, "b": 50},
        height=480,
    )
    return figure


def escaped(text: object) -> str:
    """A name that Plotly shows as it stands: it takes text for HTML."""
    return html.escape(" ".join(str(text).split()).replace(r"\$", "$"), quote=False)
