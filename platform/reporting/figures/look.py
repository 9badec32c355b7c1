"""The style of all figures: a color-blind-safe palette that works on light and dark pages, fonts and sizes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import matplotlib.figure
import matplotlib.font_manager
from cycler import cycler

# The colors of Okabe and Ito (2008) with enough contrast on both white and black.
BLUE, ORANGE, GREEN, RED, PURPLE, GRAY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#808080"
PALETTE = (BLUE, ORANGE, GREEN, RED, PURPLE, GRAY)
FULL_WIDTH = 7.2  # inches; both columns of a paper
COLUMN_WIDTH = 3.5  # inches; one column of a paper
# Fonts with Japanese, Chinese and Korean characters, which the first font lacks.
FAR_EASTERN = ("Noto Sans CJK JP", "Noto Sans JP", "IPAexGothic", "Hiragino Sans", "Yu Gothic", "MS Gothic")
INSTALLED = tuple(name for name in FAR_EASTERN if name in matplotlib.font_manager.get_font_names())

SETTINGS: Any = {  # Any, because matplotlib's stubs type the keys as literals
    "axes.prop_cycle": cycler(color=PALETTE),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    # The first font comes with matplotlib, so that figures are the same on every machine.
    "font.family": ["DejaVu Sans", *INSTALLED],
    "font.size": 8,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # embeds TrueType fonts with selectable text, as publishers require
    "svg.fonttype": "none",  # keeps text as text, which screen readers and searches can find
    "svg.hashsalt": "sakuga",  # makes IDs reproducible, so that the same plot gives the same bytes
}

# The layout of interactive figures, which have a white background on light and dark pages.
INTERACTIVE: Any = {
    "template": "simple_white",
    "colorway": PALETTE,
    "font": {"size": 13},
    "margin": {"l": 60, "r": 20, "t": 40, "b": 50},
    "hoverlabel": {"align": "left"},
    "height": 480,
}


@contextmanager
def canvas(
    width: float = FULL_WIDTH, height: float = 3.0, *, arranged: bool = True
) -> Iterator[matplotlib.figure.Figure]:
    """Yield an empty matplotlib figure, with the style of all figures applied inside the `with` block.

    Args:
        width: in inches.
        height: in inches.
        arranged: whether to use the constrained layout; False: elements stay where they are placed.
    """
    with matplotlib.rc_context(SETTINGS):
        yield matplotlib.figure.Figure(figsize=(width, height), layout="constrained" if arranged else None)
