"""Draw one picture back to front: background, hair, body, head, features and accessory, then light and paper."""

import math

import numpy as np
from PIL import Image

from shards_tools.drawing.character import Character, Moment
from shards_tools.drawing.eyes import draw_eyes
from shards_tools.drawing.hair import CROWN, draw_back_hair, draw_front_hair
from shards_tools.drawing.pen import Pen, mirror, oval, pose, smooth
from shards_tools.drawing.style import Color, Style, blend, hsv
from shards_tools.drawing.worn import draw_worn

SIZE = 128  # px
OVERSAMPLING = 3


def draw_face(
    style: Style, character: Character, moment: Moment, grain: np.random.Generator, size: int = SIZE
) -> Image.Image:
    """Draw a character.

    Args:
        style: shared by all characters of a work.
        character: the role.
        moment: pose, expression and light of this picture.
        grain: draws the noise of the style's paper.
        size: height and width of the picture in px.

    Returns:
        An RGB picture.
    """
    pen = Pen(size * OVERSAMPLING, style, moment)
    _draw_background(pen)
    draw_back_hair(pen, character)
    _draw_body(pen, character)
    _draw_head(pen, character)
    draw_eyes(pen, character)
    draw_front_hair(pen, character)
    draw_worn(pen, character)
    return _lit(pen.image.reduce(OVERSAMPLING), style, moment, grain)


def find_face(style: Style, character: Character, moment: Moment, size: int) -> tuple[int, int, int, int]:
    """Return the box of hair and head down to the chin, in the picture that `draw_face` draws.

    Args:
        style: the style of the picture.
        character: its character.
        moment: its moment.
        size: its height and width in px.

    Returns:
        Left, top, right and bottom in px, clipped to the picture.
    """
    width = style.head_width * character.width + style.hair_volume
    corners = [(x, y) for x in (-width, width) for y in (CROWN - style.hair_volume, style.chin_drop)]
    turning, middle = pose(moment, size)
    placed = np.array(corners) @ turning + middle
    left, top = np.clip(np.floor(placed.min(axis=0)), 0, size).astype(int).tolist()
    right, bottom = np.clip(np.ceil(placed.max(axis=0)), 0, size).astype(int).tolist()
    return left, top, right, bottom


def _draw_background(pen: Pen) -> None:
    moment = pen.moment
    first = hsv(moment.back_hue, moment.back_saturation, moment.back_value)
    second = hsv(moment.back_hue + 0.12, moment.back_saturation, moment.back_value * 0.8)

    def paint(points: np.ndarray, color: Color) -> None:
        pen.fill(points, color, shaded=False, outlined=False)

    paint(oval(0, 0, 3, 3, 9), first)
    if pen.style.background == "gradient":
        for step in range(12):
            top = step / 5 - 1.3
            paint(np.array([(-3, top), (3, top), (3, 3), (-3, 3)]), blend(first, second, step / 11))
    elif pen.style.background == "stripes":
        for x in np.arange(-3, 3, 0.4):
            paint(np.array([(x, -3), (x + 0.2, -3), (x + 0.2, 3), (x, 3)]), second)
    elif pen.style.background == "circle":
        paint(oval(0, 0, 0.85, 0.85), second)
    elif pen.style.background == "rays":
        for angle in np.arange(0, 2 * math.pi, math.pi / 6):
            edges = [(3 * math.cos(angle + turn), 3 * math.sin(angle + turn)) for turn in (0, math.pi / 12)]
            paint(np.array([(0, 0), *edges]), second)


def _draw_body(pen: Pen, character: Character) -> None:
    palette = pen.style.palette
    cloth = palette.color(character.cloth_hue, character.cloth_tone)
    trim = palette.color(character.accent_hue, 1.0)
    skin = palette.skin(character.skin_tone)
    pen.fill(smooth(mirror([(0.15, 0.35), (0.15, 0.66), (0.21, 0.9), (0.0, 1.0)])), palette.shadow(skin), shaded=False)
    pen.fill(smooth(mirror([(0.15, 0.70), (0.45, 0.80), (0.68, 1.05), (0.74, 1.6)])), cloth)
    if character.collar == "round":
        pen.fill(oval(0, 0.74, 0.17, 0.07), trim, shaded=False)
    elif character.collar == "sailor":
        for side in (-1, 1):
            pen.fill(np.array([(side * 0.14, 0.68), (side * 0.42, 0.8), (0.0, 1.06)]), trim, shaded=False)
    elif character.collar == "shirt":
        for side in (-1, 1):
            pen.fill(np.array([(side * 0.15, 0.64), (side * 0.24, 0.86), (0.0, 0.82)]), (245, 245, 245), shaded=False)
    else:
        pen.fill(smooth(mirror([(0.2, 0.6), (0.42, 0.74), (0.2, 0.9), (0.0, 0.93)])), trim)


def _draw_head(pen: Pen, character: Character) -> None:
    style, moment = pen.style, pen.moment
    skin = style.palette.skin(character.skin_tone)
    width = style.head_width * character.width
    for side in (-1, 1):
        pen.fill(oval(side * width * 0.99, 0.12, 0.07, 0.12), skin, shaded=False)
    full, drop = 0.12 + 0.1 * style.cheek, style.chin_drop
    half = [
        (0.0, CROWN),
        (width * 0.75, CROWN * 0.8),
        (width, -0.1),
        (width * 0.97, full),
        (width * 0.8, full + 0.55 * (drop - full)),
        (width * 0.3 + style.chin_width, drop - 0.07),
        (style.chin_width * 0.8, drop - 0.008),
        (0.0, drop),
    ]
    outline = smooth(mirror(half))
    outline[:, 0] += 0.05 * moment.turn * np.clip(outline[:, 1] + 0.2, 0, 1)  # the chin turns most
    pen.fill(outline, skin)
    _draw_blush(pen, skin)
    _draw_nose(pen, skin)
    _draw_mouth(pen, skin)


def _draw_blush(pen: Pen, skin: Color) -> None:
    style = pen.style
    blush = blend(skin, hsv(style.palette.bend(0.98), 0.7, 0.95), 0.3)
    for side in (-1, 1):
        x = side * (style.eye_spacing + 0.06) + 0.11 * pen.moment.turn
        y = style.eye_level + style.eye_height + 0.06 + 0.04 * pen.moment.nod
        if style.blush == "oval":
            pen.fill(oval(x, y, 0.085, 0.04), blush, shaded=False, outlined=False)
        elif style.blush == "lines":
            for dx in (-0.04, 0.0, 0.04):
                stroke = np.array([(x + dx + 0.015, y - 0.03), (x + dx, y), (x + dx - 0.015, y + 0.03)])
                pen.stroke(stroke, pen.style.palette.shadow(blush), 0.018)


def _draw_nose(pen: Pen, skin: Color) -> None:
    x = 0.14 * pen.moment.turn
    y = 0.5 * (pen.style.eye_level + pen.style.eye_height * 0.7 + pen.style.mouth_level) + 0.04 * pen.moment.nod
    shade = pen.style.palette.shadow(skin)
    if pen.style.nose == "dot":
        pen.fill(oval(x, y, 0.013, 0.011), pen.ink(skin), shaded=False, outlined=False)
    elif pen.style.nose == "line":
        pen.stroke(smooth([(x, y - 0.05), (x + 0.02, y), (x - 0.015, y + 0.012)], closed=False), pen.ink(skin), 0.02)
    elif pen.style.nose == "shade":
        pen.fill(
            np.array([(x, y - 0.06), (x + 0.035, y + 0.015), (x - 0.01, y + 0.02)]), shade, shaded=False, outlined=False
        )


def _draw_mouth(pen: Pen, skin: Color) -> None:
    style, mood = pen.style, pen.moment.mouth
    x, y, width = 0.12 * pen.moment.turn, style.mouth_level + 0.035 * pen.moment.nod, style.mouth_width
    ink = pen.ink(style.palette.shadow(skin))
    inside = hsv(style.palette.bend(0.0), min(0.65, 2.5 * style.palette.skin_saturation), 0.62)
    if mood == "open":
        lower = smooth(
            [
                (x - width, y - 0.015),
                (x, y + 0.005),
                (x + width, y - 0.015),
                (x + width * 0.5, y + width * 0.75),
                (x - width * 0.5, y + width * 0.75),
            ]
        )
        pen.fill(lower, inside, shaded=False)
    elif mood == "oh":
        pen.fill(oval(x, y + 0.01, width * 0.38, width * 0.5), inside, shaded=False)
    else:
        across = np.linspace(-1, 1, 17)
        lift = {"smile": across**2 - 0.5, "frown": 0.5 - across**2, "cat": np.abs(np.sin(across * math.pi)) - 0.5}
        down = y - 0.35 * width * lift.get(mood, across * 0)
        down = down if mood != "cat" else 2 * y - down
        pen.stroke(np.stack([x + across * width, down], axis=1), ink, 0.016 + style.line_width * 0.6)


def _lit(picture: Image.Image, style: Style, moment: Moment, grain: np.random.Generator) -> Image.Image:
    """Apply the moment's light and the style's paper to the picture."""
    pixels = np.asarray(picture, dtype=np.float32)
    gray = pixels.mean(axis=2, keepdims=True)
    pixels = (gray + moment.colorfulness * (pixels - gray)) * np.array(moment.gain, dtype=np.float32)
    if style.grain:
        pixels *= 1 + style.grain * grain.standard_normal(pixels.shape[:2], dtype=np.float32)[:, :, None]
    return Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))
