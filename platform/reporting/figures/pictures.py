"""Show images of a data set in a figure, with frames and names, at positions in inches."""

import matplotlib.axes
import matplotlib.figure
import numpy as np
from PIL import Image

from platform.reporting.figures.look import GREEN, RED
from shards_tools.decode import decode
from shards_tools.manifest import Manifest
from shards_tools.reader import read_image

LARGEST_PX = 256  # of the longer side; enough for print, and keeps files small
NAME_SIZE = 5.5  # points
CHARACTERS_PER_INCH = 21  # at that size


def picture(manifest: Manifest, index: int) -> np.ndarray:
    """Return an image from the shards, of shape (H, W, 3), with its longer side at most `LARGEST_PX`."""
    image = Image.fromarray(decode(read_image(manifest, index), manifest.keys[index]))
    image.thumbnail((LARGEST_PX, LARGEST_PX), Image.Resampling.LANCZOS)
    return np.asarray(image)


def show(
    page: matplotlib.figure.Figure,
    corner: tuple[float, float],
    size: float,
    pixels: np.ndarray,
    names: tuple[str, ...] = (),
) -> matplotlib.axes.Axes:
    """Show an image in a square, with a line of text below it for each name.

    Args:
        corner: the upper left corner of the square, in inches from the left and top of the page.
        size: the side of the square in inches.
        pixels: the image, of shape (H, W, 3).
    """
    width, height = page.get_size_inches()
    left, top = corner
    axes = page.add_axes((left / width, 1 - (top + size) / height, size / width, size / height))
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.imshow(pixels)
    text = "\n".join(plain(shortened(name, round(CHARACTERS_PER_INCH * size))) for name in names)
    # Relative to the square, not the image: a non-square image is centered in it.
    below = 1 - (top + size + 0.03) / height
    page.text((left + size / 2) / width, below, text, size=NAME_SIZE, ha="center", va="top")
    return axes


def mark(axes: matplotlib.axes.Axes, *, right: bool) -> None:
    """Frame an image: green with a tick if it is correct, red with a cross otherwise."""
    color, sign = (GREEN, "\N{CHECK MARK}") if right else (RED, "\N{BALLOT X}")
    axes.spines[:].set(visible=True, color=color, linewidth=1.5, linestyle="-" if right else (0, (2, 1)))
    box = {"boxstyle": "square,pad=0.15", "facecolor": color, "edgecolor": "none"}
    axes.annotate(
        sign,
        (1, 1),
        (-3, -3),
        "axes fraction",
        "offset points",
        size=5,
        color="#ffffff",
        ha="right",
        va="top",
        bbox=box,
    )


def names_of(manifest: Manifest, index: int) -> tuple[str, ...]:
    """Return the work and role of an image, or only its class or identity if the data have no roles."""
    work, role = manifest.works[manifest.work[index]], manifest.roles[manifest.role[index]]
    return (work,) if role == work else (work, role.removeprefix(f"{work}/"))


def shortened(name: str, length: int) -> str:
    """Shorten a name to at most `length` characters by cutting its middle, because many names differ at the ends."""
    if len(name) <= length:
        return name
    tail = (length - 1) // 2
    return f"{name[: length - 1 - tail]}…{name[-tail:]}"


def plain(name: str) -> str:
    """Escape dollar signs for matplotlib, which would typeset text between two of them as a formula."""
    return name.replace("$", r"\$")
