"""From the bytes of a JPEG or PNG file to an RGB array; the kind is told from the bytes, never from a name."""

import io
import struct
import zlib
from collections.abc import Callable
from functools import partial

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from shards_tools.errors import Error

JPEG_START = b"\xff\xd8\xff"
PNG_START = b"\x89PNG\r\n\x1a\n"
MAX_PIXELS = 64 * 2**20  # a tiny file can claim any size: refused before memory is taken for it
BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


def decode(data: bytes, name: str) -> np.ndarray:
    """RGB uint8 [H, W, 3] of an encoded image. `name` is what the Error of a broken one says.

    JPEG goes through libjpeg-turbo (2.5 times as fast as PIL, the same pixels). Where that warns, PIL judges: it
    accepts harmless oddities and refuses cut files; it also takes the rare CMYK. Grey and palette images become RGB;
    alpha is dropped, as in the papers' loaders. Nor do these apply a rotation that EXIF asks for, so it is not applied.
    Of 16-bit colour the high byte is taken; 16-bit grey is refused.
    """
    suffix = image_suffix(data, name)
    try:
        pixels = _decode_with_turbo(data) if suffix == "jpg" else None
        return _decode_with_pil(data) if pixels is None else pixels
    except UnidentifiedImageError:
        reason = "its header is damaged"
    except BROKEN as failure:
        reason = str(failure)
    raise Error(f"{name} is a broken image ({reason}). Replace it or remove it.")


def image_suffix(data: bytes, name: str) -> str:
    """`jpg` or `png`, by the first bytes."""
    if data.startswith(JPEG_START):
        return "jpg"
    if data.startswith(PNG_START):
        return "png"
    raise Error(f"{name} is a broken image (its bytes are neither JPEG nor PNG). Replace it or remove it.")


def resize(
    image: np.ndarray, height: int, width: int, resampling: Image.Resampling = Image.Resampling.BILINEAR
) -> np.ndarray:
    """Resize the uint8 image [H, W, 3] to height x width px, antialiased."""
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), resampling))


def cover(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The middle of the uint8 image [H, W, 3], made just large enough to cover height x width px, its shape kept.

    PaddleClas's law for square targets: the short side is resized, the long one rounded.
    """
    scale = max(height / image.shape[0], width / image.shape[1])
    rows, columns = (max(round(side * scale), least) for side, least in zip(image.shape, (height, width), strict=False))
    whole = resize(image, rows, columns)
    top, left = (rows - height) // 2, (columns - width) // 2
    return whole[top : top + height, left : left + width]


# how an image of any shape is brought to a size
FITS: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "stretch": resize,
    "bicubic": partial(resize, resampling=Image.Resampling.BICUBIC),
    "cover": cover,
}


def _decode_with_turbo(data: bytes) -> np.ndarray | None:
    """The pixels of a JPEG, or None where PIL is to judge."""
    try:
        height, width, colours = simplejpeg.decode_jpeg_header(data)[:3]
    except ValueError:
        return None
    _refuse_giants(height, width)
    if colours in ("CMYK", "YCCK"):
        return None
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, colorspace="RGB", strict=True))
    except ValueError:
        return None


def _decode_with_pil(data: bytes) -> np.ndarray:
    if data.startswith(PNG_START) and data[12:16] == b"IHDR":  # asked before PIL, which prints a warning of giants
        width, height = struct.unpack(">II", data[16:24])
        _refuse_giants(height, width)
    with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
        _refuse_giants(image.height, image.width)
        if image.mode.startswith(("I", "F")):  # PIL would clip these to white
            raise ValueError("more than 8 bits per channel; save it with 8")
        return np.asarray(image.convert("RGB"))


def _refuse_giants(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise ValueError(f"{width} x {height} px is more than {MAX_PIXELS:,} pixels")
