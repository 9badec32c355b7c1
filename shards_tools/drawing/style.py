"""A work's drawing style: everything that its characters share."""

import colorsys
from dataclasses import dataclass

import numpy as np

Color = tuple[int, int, int]  # RGB, 0..255
WHITE: Color = (255, 255, 255)


@dataclass(frozen=True)
class Palette:
    """Maps a character's hue and tone to colors: it sets saturation and value, and may shift the hue."""

    saturation: tuple[float, float]  # at tone 0 and at tone 1
    value: tuple[float, float]
    hue_center: float = 0.0
    hue_width: float = 1.0  # 1 keeps every hue; less pulls all hues toward the center
    shade: float = 0.75  # value of a shadow as a fraction
    shade_hue: float = 0.0  # how far shadows shift toward violet, 0..1
    skin_saturation: float = 0.25

    def color(self, hue: float, tone: float) -> Color:
        """Return the color of cloth, hair or eyes for a hue (0..1) and tone (0 dark .. 1 light)."""
        saturation, value = (low + (high - low) * tone for low, high in (self.saturation, self.value))
        return hsv(self.bend(hue), saturation, value)

    def skin(self, tone: float) -> Color:
        """Return the skin color, from dark (0) to fair (1)."""
        saturation = self.skin_saturation * (1.6 - tone)
        return hsv(self.bend(0.065), min(saturation, 0.7), 0.62 + 0.37 * tone)

    def bend(self, hue: float) -> float:
        """Return the hue in this palette."""
        return (self.hue_center + ((hue - self.hue_center + 0.5) % 1 - 0.5) * self.hue_width) % 1

    def shadow(self, color: Color) -> Color:
        """Return the color of a shadow on `color`."""
        hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in color))
        turned = hue + ((0.72 - hue + 0.5) % 1 - 0.5) * self.shade_hue
        return hsv(turned % 1, min(1.0, saturation * 1.15 + 0.06 * self.shade_hue), value * self.shade)


PALETTES = {
    "vivid": Palette((0.85, 0.6), (0.55, 1.0), shade_hue=0.15, skin_saturation=0.28),
    "pastel": Palette((0.38, 0.2), (0.86, 1.0), shade=0.86, shade_hue=0.3, skin_saturation=0.14),
    "muted": Palette((0.42, 0.25), (0.4, 0.78), shade=0.78, skin_saturation=0.24),
    "sepia": Palette((0.55, 0.25), (0.35, 0.92), hue_center=0.09, hue_width=0.12, skin_saturation=0.3),
    "gray": Palette((0.06, 0.02), (0.2, 0.92), shade=0.68, skin_saturation=0.03),
    "dusk": Palette(
        (0.6, 0.4), (0.35, 0.85), hue_center=0.68, hue_width=0.5, shade=0.62, shade_hue=0.6, skin_saturation=0.2
    ),
    "candy": Palette((0.75, 0.5), (0.9, 1.0), hue_center=0.92, hue_width=0.75, shade=0.82, skin_saturation=0.2),
}
SHADINGS = ("flat", "cel", "double", "soft", "hatch", "dots")
LINES = ("ink", "brown", "indigo", "own", "none")  # "own": a darker shade of the filled color
IRISES = ("gradient", "ring", "solid", "split")
HIGHLIGHTS = ("one", "two", "bar", "star", "none")
NOSES = ("none", "dot", "line", "shade")
BLUSHES = ("none", "oval", "lines")
BACKGROUNDS = ("plain", "gradient", "stripes", "circle", "rays")
SHINES = ("none", "band", "zigzag", "streaks")


@dataclass(frozen=True)
class Style:
    """The style of one work. Lengths are fractions of half the picture's width."""

    palette: Palette
    shading: str
    line: str
    line_width: float
    line_taper: float  # 0: even strokes, 1: pointed strokes
    grain: float  # strength of the paper, 0..1
    background: str
    head_width: float
    chin_width: float
    chin_drop: float
    cheek: float  # position of the fullest part of the cheeks: 0 high, 1 low
    eye_spacing: float
    eye_height: float  # half the height of the open eye
    eye_width: float  # half the width
    eye_level: float  # below the center of the head
    eye_square: float  # exponent of the eye's outline: 2 is an ellipse, more is squarer
    eye_slant: float  # outer corner up (+) or down (-)
    iris: str
    iris_size: float  # relative to the eye's width
    highlight: str
    lash: float
    lower_lash: bool
    nose: str
    mouth_level: float
    mouth_width: float
    blush: str
    shine: str
    spike: float  # depth of the hair's strands, 0..1
    strands: int  # in the front hair
    hair_volume: float


def draw_style(generator: np.random.Generator, palette: str, shading: str, line: str, background: str) -> Style:
    """Draw a random style with the given traits.

    Args:
        generator: draws the other traits.
        palette: a key of PALETTES.
        shading: one of SHADINGS.
        line: one of LINES.
        background: one of BACKGROUNDS.
    """

    def between(low: float, high: float) -> float:
        return float(generator.uniform(low, high))

    def one_of(names: tuple[str, ...]) -> str:
        return str(generator.choice(names))

    eye_width = between(0.125, 0.195)
    return Style(
        palette=PALETTES[palette],
        shading=shading,
        line=line,
        line_width=between(0.010, 0.034),
        line_taper=between(0.0, 1.0),
        grain=between(0.02, 0.06) if generator.random() < 0.5 else 0.0,
        background=background,
        head_width=between(0.48, 0.57),
        chin_width=between(0.05, 0.2),
        chin_drop=between(0.46, 0.56),
        cheek=between(0.0, 1.0),
        eye_spacing=between(0.215, 0.265),
        eye_height=eye_width * between(0.75, 1.35),
        eye_width=eye_width,
        eye_level=between(0.06, 0.19),
        eye_square=between(1.8, 3.6),
        eye_slant=between(-0.2, 0.3),
        iris=one_of(IRISES),
        iris_size=between(0.62, 0.92),
        highlight=one_of(HIGHLIGHTS),
        lash=between(0.012, 0.05),
        lower_lash=bool(generator.random() < 0.5),
        nose=one_of(NOSES),
        mouth_level=between(0.35, 0.39),
        mouth_width=between(0.06, 0.14),
        blush=one_of(BLUSHES),
        shine=one_of(SHINES),
        spike=between(0.15, 1.0),
        strands=int(generator.integers(3, 9)),
        hair_volume=between(0.06, 0.17),
    )


def draw_styles(num_works: int, seed: int) -> list[Style]:
    """Draw one style per work; the most visible traits are distributed evenly, so that no two works look alike."""
    generator = np.random.default_rng([seed, 0])
    dealt = [_deal(names, num_works, generator) for names in (tuple(PALETTES), SHADINGS, LINES, BACKGROUNDS)]
    return [draw_style(generator, *traits) for traits in zip(*dealt, strict=True)]


def _deal(names: tuple[str, ...], count: int, generator: np.random.Generator) -> list[str]:
    rounds = [generator.permutation(names) for _ in range(-(-count // len(names)))]
    return [str(name) for name in np.concatenate(rounds)[:count]]


def hsv(hue: float, saturation: float, value: float) -> Color:
    """Convert hue, saturation and value in 0..1 to RGB 0..255."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0))
    return round(red * 255), round(green * 255), round(blue * 255)


def blend(first: Color, second: Color, part: float) -> Color:
    """Return the color `part` (0..1) of the way from the first to the second."""
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(first, second, strict=True))
    return red, green, blue
