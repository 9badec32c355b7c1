"""A character (one per role) with hair, colors and accessory, and a moment of it: pose, expression and light."""

import math
from dataclasses import dataclass

import numpy as np

BACKS = ("bob", "long", "short", "twin", "ponytail", "buns", "wild")
FRONTS = ("straight", "parted", "side", "center", "swept")
ACCESSORIES = ("none", "none", "ribbon", "glasses", "pin", "ears", "band", "flower", "ahoge")
COLLARS = ("round", "sailor", "shirt", "hood")
EYES = ("open", "open", "open", "half", "closed", "happy", "wide", "wink")
MOUTHS = ("smile", "smile", "open", "flat", "frown", "oh", "cat")


@dataclass(frozen=True)
class Character:
    """The appearance of one role. Hues and tones are 0..1, positions in the palette of its work."""

    back: str
    front: str
    accessory: str
    collar: str
    hair_hue: float
    hair_tone: float
    eye_hue: float
    eye_tone: float
    skin_tone: float
    cloth_hue: float
    cloth_tone: float
    accent_hue: float
    side: int  # -1 or 1: side of the parting and the pin
    fringe: float  # length of the front hair, 0..1
    width: float  # of the face, about 1
    brow: float  # thickness of the brows, about 1


@dataclass(frozen=True)
class Moment:
    """The differences between two images of one role."""

    tilt: float  # radians
    turn: float  # -1 left .. 1 right
    nod: float  # -1 up .. 1 down
    scale: float
    shift: tuple[float, float]
    eyes: str
    mouth: str
    brow: float  # -1 worried .. 1 angry
    gaze: tuple[float, float]  # -1..1
    light: tuple[float, float]  # direction in which shadows fall: a unit vector
    gain: tuple[float, float, float]  # of red, green and blue
    colorfulness: float  # of the light: 0 gray, 1 as painted
    back_hue: float
    back_saturation: float
    back_value: float


def draw_character(generator: np.random.Generator) -> Character:
    """Draw a random character."""
    uniform = generator.random
    return Character(
        back=str(generator.choice(BACKS)),
        front=str(generator.choice(FRONTS)),
        accessory=str(generator.choice(ACCESSORIES)),
        collar=str(generator.choice(COLLARS)),
        hair_hue=uniform(),
        hair_tone=uniform(),
        eye_hue=uniform(),
        eye_tone=0.2 + 0.5 * uniform(),
        skin_tone=1 - 0.6 * uniform() ** 2,
        cloth_hue=uniform(),
        cloth_tone=uniform(),
        accent_hue=uniform(),
        side=int(generator.choice((-1, 1))),
        fringe=uniform(),
        width=0.95 + 0.1 * uniform(),
        brow=0.6 + 0.8 * uniform(),
    )


def draw_moment(generator: np.random.Generator) -> Moment:
    """Draw a random moment."""

    def between(low: float, high: float) -> float:
        return float(generator.uniform(low, high))

    angle = between(0.15, 0.85) * math.pi
    brightness, warmth, green = between(0.82, 1.08), between(-0.1, 0.1), between(-0.04, 0.04)
    return Moment(
        tilt=float(np.clip(generator.normal(0, 0.09), -0.2, 0.2)),
        turn=between(-1, 1),
        nod=between(-1, 1),
        scale=between(1.08, 1.28),
        shift=(between(-0.08, 0.08), between(-0.02, 0.1)),
        eyes=str(generator.choice(EYES)),
        mouth=str(generator.choice(MOUTHS)),
        brow=between(-1, 1),
        gaze=(between(-1, 1), between(-0.6, 0.6)),
        light=(math.cos(angle), math.sin(angle)),
        gain=(brightness + warmth, brightness + green, brightness - warmth),
        colorfulness=between(0.55, 1.15),
        back_hue=between(0, 1),
        back_saturation=between(0.05, 0.65),
        back_value=between(0.35, 1),
    )
