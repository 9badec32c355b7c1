"""Eyes and brows: the part of an anime face that shows a style best."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from shards_tools.drawing.character import Character
from shards_tools.drawing.pen import Pen, oval, smooth
from shards_tools.drawing.style import WHITE, Color, blend

OPENNESS = {
    "open": 0.92,
    "half": 0.5,
    "wide": 1.08,
}  # relative to the style's height; in any other expression the eyes are shut

Lids = Callable[[np.ndarray], np.ndarray]  # keeps points [N, 2] between the lids
Spot = Callable[[Color, float, float, float, float], None]  # fills an ellipse in units of the iris


class Eye(NamedTuple):
    """Position of one eye: its center, its side (-1 or 1), and its width, smaller if the head turns it away."""

    x: float
    y: float
    side: int
    width: float


def draw_eyes(pen: Pen, character: Character) -> None:
    """Draw both eyes and both brows with the moment's expression."""
    for side in (-1, 1):
        near = 1 - 0.16 * max(0.0, pen.moment.turn * side)
        x = side * pen.style.eye_spacing * character.width * near + 0.11 * pen.moment.turn
        eye = Eye(x, pen.style.eye_level + 0.045 * pen.moment.nod, side, pen.style.eye_width * near)
        mood = pen.moment.eyes
        if mood == "wink":
            mood = "happy" if side == character.side else "open"
        if mood in OPENNESS:
            _draw_open_eye(pen, character, eye, OPENNESS[mood])
        else:
            _draw_shut_eye(pen, eye, curve=-1 if mood == "happy" else 1)
        _draw_brow(pen, character, eye)


def _draw_open_eye(pen: Pen, character: Character, eye: Eye, openness: float) -> None:
    style = pen.style
    x, y, side, width = eye
    height = style.eye_height

    def lidded(points: np.ndarray) -> np.ndarray:
        """Clip the points to the lids, then slant them."""
        across = np.clip((points[:, 0] - x) / width, -1, 1)
        arch = (1 - np.abs(across) ** style.eye_square) ** (1 / style.eye_square)
        low, high = y - height * (2 * openness - 1) * arch, y + height * arch
        flat = np.stack([np.clip(points[:, 0], x - width, x + width), np.clip(points[:, 1], low, high)], axis=1)
        flat[:, 1] -= (flat[:, 0] - x) * side * style.eye_slant
        return flat

    pen.fill(lidded(oval(x, y, width, height, style.eye_square, steps=40)), WHITE, shaded=False, outlined=False)
    _draw_iris(pen, character, eye, lidded)
    across = np.linspace(-1.0, 1.0, 25) * width + x
    upper = lidded(np.stack([across, np.full(25, -9.0)], axis=1))
    lash = pen.ink(style.palette.color(character.hair_hue, 0.0))
    wing = np.array([[x + side * width * 1.18, upper[-1 if side > 0 else 0, 1] - style.lash]])
    line = np.concatenate([upper, wing]) if side > 0 else np.concatenate([wing, upper])
    pen.stroke(line, lash, style.lash * 1.3)
    if style.lower_lash:
        lower = lidded(np.stack([across[6:-6], np.full(13, 9.0)], axis=1))
        pen.stroke(lower, lash, style.lash * 0.45)


def _draw_iris(pen: Pen, character: Character, eye: Eye, lidded: Lids) -> None:
    style, palette = pen.style, pen.style.palette
    width = style.eye_width * style.iris_size
    height = max(style.eye_height * 0.98, width * 0.8) if style.iris_size > 0.7 else width
    x = eye.x + pen.moment.gaze[0] * (style.eye_width - width * 0.8) * 0.6
    y = eye.y + pen.moment.gaze[1] * style.eye_height * 0.18
    color = palette.color(character.eye_hue, character.eye_tone)
    deep = palette.shadow(palette.shadow(color))
    bright = blend(color, WHITE, 0.45)

    def spot(color: Color, dx: float, dy: float, wide: float, high: float) -> None:
        shape = lidded(oval(x + dx * width, y + dy * height, wide * width, high * height))
        pen.fill(shape, color, shaded=False, outlined=False)

    spot(deep, 0, 0, 1, 1)
    if style.iris == "ring":
        spot(bright, 0, 0, 0.84, 0.86)
        spot(color, 0, 0, 0.62, 0.62)
    elif style.iris == "gradient":
        spot(color, 0, 0.22, 0.88, 0.74)
        spot(bright, 0, 0.5, 0.62, 0.4)
    elif style.iris == "split":
        spot(color, 0, 0.05, 0.9, 0.9)
        spot(bright, 0.3, 0.45, 0.4, 0.4)
    else:
        spot(color, 0, 0, 0.92, 0.94)
    spot(pen.ink(deep), 0, 0, 0.36, 0.44)
    _draw_highlight(pen, spot)


def _draw_highlight(pen: Pen, spot: Spot) -> None:
    side = -1 if pen.moment.light[0] > 0 else 1  # highlights are where the light comes from
    kind = pen.style.highlight
    if kind in ("one", "two"):
        spot(WHITE, side * 0.38, -0.4, 0.3, 0.28)
    if kind == "two":
        spot(WHITE, -side * 0.35, 0.42, 0.16, 0.15)
    elif kind == "bar":
        spot(WHITE, 0, -0.5, 0.75, 0.16)
    elif kind == "star":
        spot(WHITE, side * 0.35, -0.38, 0.11, 0.42)
        spot(WHITE, side * 0.35, -0.38, 0.42, 0.11)


def _draw_shut_eye(pen: Pen, eye: Eye, curve: int) -> None:
    across = np.linspace(-1.05, 1.05, 17)
    height = 0.05 + pen.style.eye_height * 0.22
    down = eye.y + height * (0.4 + curve * (0.5 - across**2)) - across * eye.side * pen.style.eye_slant * eye.width
    line = np.stack([eye.x + across * eye.width, down], axis=1)
    pen.stroke(line, pen.ink((120, 80, 70)), max(pen.style.lash, 0.02) * 1.2)


def _draw_brow(pen: Pen, character: Character, eye: Eye) -> None:
    width = eye.width * 1.05
    top = eye.y - pen.style.eye_height - 0.07 - 0.02 * (pen.moment.eyes == "wide")
    lean = 0.05 * pen.moment.brow * eye.side
    ends = [(eye.x - width, top - lean), (eye.x, top - 0.03), (eye.x + width, top + lean)]
    color = pen.ink(pen.style.palette.color(character.hair_hue, character.hair_tone * 0.5))
    pen.stroke(smooth(ends, closed=False), color, 0.022 * character.brow + pen.style.line_width * 0.4)
