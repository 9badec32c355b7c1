"""The common layout and escaping of interactive figures."""

from __future__ import annotations

import html
from typing import Any

from platform.reporting.figures.look import INTERACTIVE


def on_white(figure: Any) -> Any:
    """Apply the report's layout to a Plotly figure and return it."""
    figure.update_layout(**INTERACTIVE, height=480)
    return figure


def escaped(text: object) -> str:
    """Escape text for Plotly, which interprets HTML, and undo the escaping of dollar signs for matplotlib."""
    return html.escape(" ".join(str(text).split()).replace(r"\$", "$"), quote=False)
