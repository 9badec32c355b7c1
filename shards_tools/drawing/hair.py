"""Hair: the part behind the head, the locks in front of the face, and their shine."""

import math
from itertools import pairwise

import numpy as np

from shards_tools.drawing.character import Character
from shards_tools.drawing.pen import Pen, mirror, oval, smooth
from shards_tools.drawing.style import WHITE, Color, blend

CROWN = -0.56  # top of the skull


def draw_back_hair(pen: Pen, character: Character) -> None:
    """Draw the hair behind head and body."""
    color = hair_color(pen, character)
    behind = pen.style.palette.shadow(color)
    width, volume = pen.style.head_width * character.width, pen.style.hair_volume
    if character.back in ("twin", "buns"):
        for side in (-1, 1):
            shape = _tail(side, width) if character.back == "twin" else oval(side * width * 0.78, CROWN, 0.21, 0.21)
            pen.fill(shape, color)
    if character.back == "ponytail":
        pen.fill(_ponytail(character.side, width), color)
    if character.back == "wild":
        pen.fill(_star(width, volume, pen.style.spike), behind)
        return
    length = {"bob": 0.5, "long": 1.25}.get(character.back, 0.22)
    pen.fill(_fall(width, volume, length, pen.style.strands, pen.style.spike), behind)


def draw_front_hair(pen: Pen, character: Character) -> None:
    """Draw the front hair with its fringe, strands and shine."""
    color = hair_color(pen, character)
    shape = _turned(pen, _front(pen, character))
    pen.fill(shape, color)
    width = pen.style.head_width * character.width
    for place in np.linspace(-0.6, 0.6, pen.style.strands):
        root, tip = (
            (place * 0.25, CROWN - pen.style.hair_volume * 0.6),
            (place * width, fringe_level(place, character) - 0.1),
        )
        middle = ((root[0] + tip[0] * 2) / 3, (root[1] + tip[1]) / 2 - 0.05)
        pen.stroke(_turned(pen, smooth([root, middle, tip], closed=False)), pen.ink(color), pen.style.line_width * 0.7)
    _draw_shine(pen, width, color)
    if character.accessory == "ahoge":
        curl = [(0.0, CROWN - 0.08), (0.03, CROWN - 0.26), (0.17 * character.side, CROWN - 0.27)]
        pen.stroke(smooth(curl, closed=False), color, 0.07)


def hair_color(pen: Pen, character: Character) -> Color:
    """Return the hair color in this work's palette."""
    return pen.style.palette.color(character.hair_hue, character.hair_tone)


def fringe_level(place: float, character: Character) -> float:
    """Return the length of the fringe at `place`, from -1 at the left temple to 1 at the right temple."""
    low = -0.16 + 0.14 * character.fringe
    lift = {
        "straight": 0.0,
        "parted": 0.26 * math.exp(-((place / 0.3) ** 2)),
        "side": 0.24 * math.exp(-(((place - 0.45 * character.side) / 0.28) ** 2)),
        "center": 0.12 - 0.2 * math.exp(-((place / 0.22) ** 2)),
        "swept": 0.13 + 0.13 * place * character.side,
    }[character.front]
    return low - lift


def _front(pen: Pen, character: Character) -> np.ndarray:
    """Return the outline: over the crown from the right temple to the left, and back along the fringe."""
    width, volume, spike = pen.style.head_width * character.width, pen.style.hair_volume, pen.style.spike
    lock = 0.12 + 0.22 * character.fringe
    cap = smooth(
        mirror(
            [
                (0.0, CROWN - volume),
                (width * 0.62, CROWN * 0.93 - volume * 0.6),
                (width + volume * 0.45, -0.14),
                (width + 0.02, lock),
            ]
        ),
    )
    outer = cap[cap[:, 1] < lock - 0.02]
    outer = outer[np.argsort(np.arctan2(outer[:, 0], -(outer[:, 1] - 0.1)))][::-1]  # from right to left
    corners = [(-width * 0.97, lock + spike * 0.1)]
    edges = np.linspace(-0.86, 0.86, pen.style.strands + 1)
    for left, right in pairwise(edges):
        tip = left + (right - left) * (0.5 + 0.3 * character.side * spike)
        corners.append((left * width, fringe_level(left, character) - 0.03 - 0.1 * spike))
        corners.append(((left + tip) / 2 * width, fringe_level(tip, character) + 0.02 * spike))
        corners.append((tip * width, fringe_level(tip, character) + 0.07 * spike))
    corners.append((edges[-1] * width, fringe_level(edges[-1], character) - 0.1 * spike))
    corners.append((width * 0.97, lock + spike * 0.1))
    return np.concatenate([outer, np.array(corners)])


def _turned(pen: Pen, points: np.ndarray) -> np.ndarray:
    """Shift the front hair with the turn of the head, less than the face."""
    moved: np.ndarray = points.copy()
    moved[:, 0] += 0.035 * pen.moment.turn * (points[:, 1] < 0.1)
    moved[:, 1] += 0.02 * pen.moment.nod
    return moved


def _fall(width: float, volume: float, length: float, strands: int, spike: float) -> np.ndarray:
    """Return hair that hangs down to `length`, its lower end divided into strands."""
    broad = width + volume
    side = smooth(
        [(0.0, CROWN - volume), (broad * 0.75, -0.48), (broad, -0.1), (broad + 0.04, length * 0.6)], closed=False
    )
    ends = np.linspace(broad + 0.03, -broad - 0.03, 2 * strands + 1)
    zigzag = np.where(np.arange(len(ends)) % 2 == 0, length + spike * 0.1, length - spike * 0.06)
    return np.concatenate([side, np.stack([ends, zigzag], axis=1), side[::-1] * np.array([-1.0, 1.0])])


def _tail(side: int, width: float) -> np.ndarray:
    outline = [(0.8, -0.34), (1.3, -0.42), (1.62, 0.0), (1.5, 0.5), (1.28, 0.85), (1.2, 0.4), (1.05, 0.0)]
    return smooth([(side * x * width, y) for x, y in outline])


def _ponytail(side: int, width: float) -> np.ndarray:
    outline = [(0.2, -0.62), (0.9, -0.86), (1.5, -0.5), (1.6, 0.1), (1.3, 0.62), (1.2, 0.1), (0.9, -0.3)]
    return smooth([(side * x * width, y) for x, y in outline])


def _star(width: float, volume: float, spike: float) -> np.ndarray:
    """Return spikes around the head."""
    angle = np.linspace(-0.5 * math.pi, 1.5 * math.pi, 27)[:-1]
    radius = np.where(np.arange(26) % 2 == 0, 1.18 + 0.3 * spike, 1.06) + volume
    return np.stack([width * radius * np.cos(angle), -0.05 + 0.55 * radius * np.sin(angle)], axis=1)


def _draw_shine(pen: Pen, width: float, color: Color) -> None:
    light = blend(color, WHITE, 0.55)
    x = np.linspace(-0.66, 0.66, 25) * width
    y = -0.36 - 0.1 * (1 - (x / width) ** 2) + 0.02 * pen.moment.nod
    x = x + 0.05 * pen.moment.turn
    if pen.style.shine == "band":
        pen.stroke(np.stack([x, y], axis=1), light, 0.06)
    elif pen.style.shine == "zigzag":
        pen.stroke(np.stack([x, y + 0.035 * (-1.0) ** np.arange(25)], axis=1), light, 0.03)
    elif pen.style.shine == "streaks":
        for place in (4, 7, 9, 16, 19):
            pen.stroke(
                np.array([[x[place], y[place] - 0.05], [x[place], y[place]], [x[place], y[place] + 0.05]]), light, 0.03
            )
