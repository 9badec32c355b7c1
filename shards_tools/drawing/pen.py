"""The pen: smooth shapes in picture coordinates, filled, shaded and outlined in a style.

Coordinates run from -1 to 1 in both directions, y down. Points are float arrays [N, 2].
"""

import math
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from shards_tools.drawing.character import Moment
from shards_tools.drawing.style import Color, Style

SHADOW_REACH = 0.11  # depth of a shadow in its shape
BLUR = 0.03  # of a soft shadow, relative to the picture's width
INKS = {"ink": (32, 26, 30), "brown": (96, 58, 40), "indigo": (48, 46, 110)}


class Pen:
    """Draws on one square picture of `size` px; the moment's pose rotates, scales and shifts everything."""

    def __init__(self, size: int, style: Style, moment: Moment) -> None:
        self.style = style
        self.moment = moment
        self.size = size
        self.image = Image.new("RGB", (size, size))
        self._canvas = ImageDraw.Draw(self.image)
        self._turning, self._middle = pose(moment, size)

    def fill(self, points: np.ndarray, color: Color, *, shaded: bool = True, outlined: bool = True) -> None:
        """Fill the shape and add the style's shadow and outline.

        Args:
            points: the corners in order; the last is joined to the first.
            color: of the shape; the style derives the colors of shadow and outline from it.
            shaded: whether to add the shadow, if the style has one.
            outlined: whether to add the outline, if the style has one.
        """
        corners = self._pixels(points)
        self._canvas.polygon(corners, fill=color)
        if shaded and self.style.shading != "flat":
            self._shade(corners, color)
        if outlined and self.style.line != "none":
            self._canvas.line([*corners, corners[0]], fill=self.ink(color), width=self._width(self.style.line_width))

    def stroke(self, points: np.ndarray, color: Color, width: float) -> None:
        """Draw a brush stroke along the points, `width` in the middle; the style sets how thin its ends are."""
        along = np.empty_like(points)
        along[1:-1] = (points[2:] - points[:-2]) / 2
        along[0], along[-1] = points[1] - points[0], points[-1] - points[-2]
        across = np.stack([-along[:, 1], along[:, 0]], axis=1) / (np.linalg.norm(along, axis=1, keepdims=True) + 1e-9)
        thickness = 1 - self.style.line_taper * (1 - _arch(len(points)))
        offset = across * (thickness * width / 2)[:, None]
        self._canvas.polygon(self._pixels(np.concatenate([points + offset, (points - offset)[::-1]])), fill=color)

    def ink(self, color: Color) -> Color:
        """Return the color of an outline around `color`."""
        if self.style.line in INKS:
            return INKS[self.style.line]
        red, green, blue = self.style.palette.shadow(color)
        return int(red * 0.6), int(green * 0.6), int(blue * 0.6)

    def _shade(self, corners: list[tuple[float, float]], color: Color) -> None:
        box = self._around(corners)
        shape = Image.new("L", (box[2] - box[0], box[3] - box[1]))
        ImageDraw.Draw(shape).polygon([(x - box[0], y - box[1]) for x, y in corners], fill=255)
        shadow = self._shadow(shape, SHADOW_REACH)
        if self.style.shading == "soft":
            shadow = ImageChops.multiply(shadow.filter(ImageFilter.BoxBlur(self.size * BLUR)), shape)
        elif self.style.shading in ("hatch", "dots"):
            shadow = ImageChops.multiply(shadow, _texture(self.style.shading, self.size).crop(box))
        self._paste(self.style.palette.shadow(color), box, shadow)
        if self.style.shading == "double":
            deep = self.style.palette.shadow(self.style.palette.shadow(color))
            self._paste(deep, box, self._shadow(shape, SHADOW_REACH * 0.45))

    def _around(self, corners: list[tuple[float, float]]) -> tuple[int, int, int, int]:
        """Return the part of the picture that a shape and its shadow can touch; all of it if that is at an edge."""
        margin = math.ceil(self.size * max(SHADOW_REACH / 2, BLUR)) + 2
        across, down = zip(*corners, strict=True)
        left, top = math.floor(min(across)) - margin, math.floor(min(down)) - margin
        right, bottom = math.ceil(max(across)) + margin, math.ceil(max(down)) + margin
        if min(left, top) < 0 or max(right, bottom) > self.size:
            return 0, 0, self.size, self.size
        return left, top, right, bottom

    def _paste(self, color: Color, box: tuple[int, int, int, int], mask: Image.Image) -> None:
        touched = mask.getbbox()
        if touched:
            self.image.paste(color, (box[0] + touched[0], box[1] + touched[1]), mask.crop(touched))

    def _shadow(self, shape: Image.Image, reach: float) -> Image.Image:
        """Return the rim of the shape on the dark side: the shape minus the shape shifted by the light."""
        right, down = (round(-part * reach * self.size / 2) for part in self.moment.light)
        return ImageChops.subtract(shape, ImageChops.offset(shape, right, down))

    def _pixels(self, points: np.ndarray) -> list[tuple[float, float]]:
        return [tuple(point) for point in (points @ self._turning + self._middle).tolist()]

    def _width(self, width: float) -> int:
        return max(1, round(width * self.size / 2))


def pose(moment: Moment, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return matrix and offset that map points to the pixels of a picture of `size` px."""
    cosine, sine = math.cos(moment.tilt) * moment.scale, math.sin(moment.tilt) * moment.scale
    return np.array([[cosine, sine], [-sine, cosine]]) * size / 2, (1 + np.array(moment.shift)) * size / 2


@lru_cache
def _superellipse(square: float, steps: int) -> np.ndarray:
    """Return the ellipse around the origin with half axes 1, [steps, 2]."""
    angle = np.linspace(0, 2 * math.pi, steps, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.asarray(np.sign(circle) * np.abs(circle) ** (2 / square))


@lru_cache
def _arch(num_points: int) -> np.ndarray:
    """Return half a sine wave: thin at both ends."""
    return np.asarray(np.sin(np.linspace(0.08, math.pi - 0.08, num_points)))


@lru_cache
def _texture(kind: str, size: int) -> Image.Image:
    """Return hatching or screen dots: the mask of the visible part of a shadow, never opaque."""
    y, x = np.mgrid[:size, :size] / size
    wave = np.sin((x + y) * 150) if kind == "hatch" else np.sin((x + y) * 130) + np.sin((x - y) * 130) - 0.3
    return Image.fromarray(((wave > 0) * 170).astype(np.uint8))


def smooth(points: list[tuple[float, float]] | np.ndarray, *, closed: bool = True, steps: int = 6) -> np.ndarray:
    """Return a Catmull-Rom curve through the points."""
    points = np.asarray(points, dtype=np.float64)
    if closed:
        padded = np.concatenate([points[-1:], points, points[:2]])
    else:
        padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    before, start, end, after = (padded[first : len(padded) - 3 + first, None] for first in range(4))
    t = (np.arange(steps) / steps)[None, :, None]
    curve = start + 0.5 * t * (
        end - before + t * (2 * before - 5 * start + 4 * end - after + t * (3 * (start - end) + after - before))
    )
    curve = curve.reshape(-1, 2)
    return curve if closed else np.concatenate([curve, points[-1:]])


def oval(x: float, y: float, width: float, height: float, square: float = 2.0, steps: int = 28) -> np.ndarray:
    """Return a superellipse around (x, y).

    Args:
        x: horizontal center.
        y: vertical center.
        width: half axis, not the full width; `height` likewise.
        square: exponent: 2 is an ellipse, more is squarer.
        steps: number of points.

    Returns:
        The outline, [steps, 2].
    """
    return _superellipse(square, steps) * (width, height) + (x, y)


def mirror(half: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return a symmetric outline from its right half, top to bottom; points on the axis are not doubled."""
    return [*half, *((-x, y) for x, y in reversed(half) if abs(x) > 1e-9)]
