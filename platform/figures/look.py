"""How figures look: colours that differ for the colour-blind too and stand on light and dark, type of one size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import matplotlib.figure
import matplotlib.font_manager
from cycler import cycler

# Okabe and Ito's colours (2008) that are neither too light for white nor too dark for black.
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#808080"
PALETTE = (BLUE, ORANGE, GREEN, RED, PURPLE, GREY)
FULL_WIDTH = 7.2  # inches: both columns of a paper
COLUMN_WIDTH = 3.5  # inches: one
# Fonts with the letters of Japanese, Chinese and Korean names, which the first font lacks.
FAR_EASTERN = ("Noto Sans CJK JP", "Noto Sans JP", "IPAexGothic", "Hiragino Sans", "Yu Gothic", "MS Gothic")
INSTALLED = tuple(name for name in FAR_EASTERN if name in matplotlib.font_manager.get_font_names())

SETTINGS: Any = {  # its keys are literals to the type checker
    "axes.prop_cycle": cycler(color=PALETTE),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    # The first comes with matplotlib, so that a figure is the same everywhere.
    "font.family": ["DejaVu Sans", *INSTALLED],
    "font.size": 8,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # type that can be selected, as publishers ask for
    "svg.fonttype": "none",  # text stays text, which can be read out and found
    "svg.hashsalt": "sakuga",  # the same drawing gives the same bytes
}

# Of figures to explore, on a card of their own: white, as they are pointed at on pages of either kind.
EXPLORED: Any = {
    "template": "simple_white",
    "colorway": PALETTE,
    "font": {"size": 13},
    "margin": {"l": 60, "r": 20, "t": 40, "b": 50},
    "hoverlabel": {"align": "left"},
}


@contextmanager
def canvas(
    width: float = FULL_WIDTH, height: float = 3.0, *, arranged: bool = True
) -> Iterator[matplotlib.figure.Figure]:
    """An empty figure of so many inches, and our settings for as long as it is drawn.

    Args:
        arranged: whether room is made for what is drawn; else it stands where it is put.
    """
    with matplotlib.rc_context(SETTINGS):
        yield matplotlib.figure.Figure(figsize=(width, height), layout="constrained" if arranged else None)
