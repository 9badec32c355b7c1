"""Accessories in the hair or on the nose."""

import math

import numpy as np

from shards_tools.drawing.character import Character
from shards_tools.drawing.hair import CROWN, hair_color
from shards_tools.drawing.pen import Pen, oval
from shards_tools.drawing.style import Color, hsv


def draw_worn(pen: Pen, character: Character) -> None:
    """Draw the character's accessory, if it has one."""
    if character.accessory in WORN:
        palette = pen.style.palette
        color = hsv(palette.bend(character.accent_hue), max(palette.saturation), max(palette.value) * 0.95)
        WORN[character.accessory](pen, character, color)


def _ribbon(pen: Pen, character: Character, color: Color) -> None:
    knot = np.array([character.side * _width(pen, character) * 0.6, _top(pen) + 0.12])
    for wing in (-1, 1):
        bow = np.array([(0.0, 0.0), (wing * 0.2, -0.13), (wing * 0.24, 0.02), (wing * 0.18, 0.12)])
        pen.fill(bow + knot, color)
    pen.fill(oval(knot[0], knot[1], 0.05, 0.06), color)


def _glasses(pen: Pen, character: Character, color: Color) -> None:
    style = pen.style
    dark = style.palette.shadow(color)
    x, y = 0.11 * pen.moment.turn, style.eye_level + 0.045 * pen.moment.nod
    width, height = style.eye_width + 0.045, max(style.eye_height, 0.12) + 0.03
    for side in (-1, 1):
        rim = oval(x + side * style.eye_spacing, y, width, height, square=2.6, steps=40)
        pen.stroke(np.concatenate([rim, rim[:1]]), dark, 0.032)
    gap = style.eye_spacing - width
    pen.stroke(np.array([(x - gap, y), (x, y - 0.02), (x + gap, y)]), dark, 0.03)


def _pin(pen: Pen, character: Character, color: Color) -> None:
    middle = np.array([character.side * _width(pen, character) * 0.68, -0.2])
    for lean in (-0.05, 0.05):
        bar = np.array([(-0.09, -lean), (0.0, 0.0), (0.09, lean)])
        pen.stroke(bar + middle, color, 0.045)


def _cat_ears(pen: Pen, character: Character, color: Color) -> None:
    top, width = _top(pen), _width(pen, character)
    for side in (-1, 1):
        ear = np.array([(side * 0.14, top + 0.08), (side * 0.46, top - 0.26), (side * width * 0.98, top + 0.3)])
        pen.fill(ear, hair_color(pen, character))
        pen.fill(ear * 0.55 + ear.mean(axis=0) * 0.45, color, shaded=False, outlined=False)


def _band(pen: Pen, character: Character, color: Color) -> None:
    across = np.linspace(-1, 1, 25)
    arc = np.stack([across * _width(pen, character) * 0.98, -0.24 - 0.3 * (1 - across**2)], axis=1)
    pen.stroke(arc, color, 0.1)


def _flower(pen: Pen, character: Character, color: Color) -> None:
    x, y = character.side * _width(pen, character) * 0.72, -0.36
    for angle in np.arange(5) * 2 * math.pi / 5:
        petal = oval(x + 0.085 * math.cos(angle), y + 0.085 * math.sin(angle), 0.07, 0.07)
        pen.fill(petal, color, shaded=False)
    pen.fill(oval(x, y, 0.045, 0.045), (250, 225, 120), shaded=False, outlined=False)


WORN = {"ribbon": _ribbon, "glasses": _glasses, "pin": _pin, "ears": _cat_ears, "band": _band, "flower": _flower}


def _width(pen: Pen, character: Character) -> float:
    return pen.style.head_width * character.width


def _top(pen: Pen) -> float:
    """Return the upper end of the hair above the crown."""
    return CROWN - pen.style.hair_volume
