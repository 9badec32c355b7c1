"""Pictures side by side: images as they are, framed and named, at places given in inches.

H W pixels.
"""

import matplotlib.axes
import matplotlib.figure
import numpy as np
from PIL import Image

from platform.figures.look import GREEN, RED
from shards_tools.decode import decode
from shards_tools.manifest import Manifest
from shards_tools.reader import read_image

LARGEST_PX = 256  # of a picture's longer side: what print can show of it, and no more to load
NAME_SIZE = 5.5  # points
CHARACTERS_PER_INCH = 21  # of a name in that size


def picture(manifest: Manifest, index: int) -> np.ndarray:
    """The image as it was built into the shards, H W 3, its sides in proportion."""
    image = Image.fromarray(decode(read_image(manifest, index), str(manifest.keys[index])))
    image.thumbnail((LARGEST_PX, LARGEST_PX), Image.Resampling.LANCZOS)
    return np.asarray(image)


def show(
    page: matplotlib.figure.Figure,
    corner: tuple[float, float],
    size: float,
    pixels: np.ndarray,
    names: tuple[str, ...] = (),
) -> matplotlib.axes.Axes:
    """A picture in a square, with a line under it for each name.

    Args:
        corner: how far the square's upper left corner is from that of the page, in inches to the right and down.
        size: of the square, in inches.
    """
    width, height = page.get_size_inches()
    left, top = corner
    axes = page.add_axes((left / width, 1 - (top + size) / height, size / width, size / height))
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.imshow(pixels)
    text = "\n".join(plain(shortened(name, round(CHARACTERS_PER_INCH * size))) for name in names)
    # From the square, not from the picture: what is wide or high stands in the middle of it.
    below = 1 - (top + size + 0.03) / height
    page.text((left + size / 2) / width, below, text, size=NAME_SIZE, ha="center", va="top")
    return axes


def mark(axes: matplotlib.axes.Axes, *, right: bool) -> None:
    """Frame a picture: green with a tick where it is right, else red with a cross."""
    colour, sign = (GREEN, "\N{CHECK MARK}") if right else (RED, "\N{BALLOT X}")
    axes.spines[:].set(visible=True, color=colour, linewidth=1.5, linestyle="-" if right else (0, (2, 1)))
    box = {"boxstyle": "square,pad=0.15", "facecolor": colour, "edgecolor": "none"}
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
    """Work and role of an image; of data without roles the class or identity alone."""
    work, role = manifest.works[manifest.work[index]], manifest.roles[manifest.role[index]]
    return (work,) if role == work else (work, role.removeprefix(f"{work}/"))


def shortened(name: str, length: int) -> str:
    """The name in so many characters: begin and end of a longer one, as many differ only there."""
    if len(name) <= length:
        return name
    tail = (length - 1) // 2
    return f"{name[: length - 1 - tail]}…{name[-tail:]}"


def plain(name: str) -> str:
    """The name for matplotlib, to which what stands between two dollars is a formula."""
    return name.replace("$", r"\$")
