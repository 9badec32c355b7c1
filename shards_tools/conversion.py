"""How a picture becomes RGB pixels, as the manifest records it and every checkpoint repeats it."""

import re
from dataclasses import dataclass

from PIL import ImageColor

HEX_COLOR = re.compile(r"#[0-9a-f]{6}")


@dataclass(frozen=True)
class Conversion:
    """The choices in turning a picture into RGB pixels. The default is how images in shards are read."""

    background: str | None = None  # "#rrggbb", shown through transparent pixels; None drops the alpha channel
    exif_orientation: bool = False  # rotate and mirror as EXIF says

    def __post_init__(self) -> None:
        if self.background is not None and not HEX_COLOR.fullmatch(self.background):
            raise ValueError(f"background={self.background!r} is not #rrggbb")
        if not isinstance(self.exif_orientation, bool):
            raise ValueError(f"exif_orientation={self.exif_orientation!r} is not true or false")


AS_STORED = Conversion()
ON_WHITE = Conversion(background="#ffffff")


def parse_color(text: str) -> str:
    """Return a color that Pillow knows, such as `white`, `#fff` or `rgb(0, 0, 0)`, as `#rrggbb`.

    Raises:
        ValueError: it is no color, or a transparent one.
    """
    channels = ImageColor.getrgb(text)
    if len(channels) > 3:
        raise ValueError(f"{text!r} has an alpha channel")
    return "#" + bytes(channels).hex()
