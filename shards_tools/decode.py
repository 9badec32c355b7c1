"""Decode JPEG and PNG bytes to RGB arrays; the format is detected from the bytes, never from a file name."""

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
MAX_PIXELS = 64 * 2**20  # a tiny file can claim any size: reject it before allocating memory
BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


def decode(data: bytes, name: str, out: np.ndarray | None = None) -> np.ndarray:
    """Decode an image to RGB uint8 [H, W, 3].

    JPEG is decoded by libjpeg-turbo (2.5 times as fast as PIL, the same pixels). If libjpeg-turbo warns, PIL decides:
    it accepts harmless oddities, rejects truncated files, and decodes the rare CMYK images. Gray and palette images
    become RGB. Alpha is dropped and EXIF rotation is ignored, as in the papers' loaders. Of 16-bit color only the high
    byte is kept; 16-bit gray is an Error.

    Args:
        data: the encoded image.
        name: how the Error of a broken image names it.
        out: uint8, C-contiguous; a JPEG of this height and width is decoded into it, which saves memory and a copy.

    Returns:
        The pixels: `out` itself if they were decoded into it. Otherwise the content of `out` is undefined.

    Raises:
        Error: the bytes are no intact JPEG or PNG image, or the image has too many pixels.
    """
    suffix = image_suffix(data, name)
    try:
        pixels = _decode_with_turbo(data, out) if suffix == "jpg" else None
        return _decode_with_pil(data) if pixels is None else pixels
    except UnidentifiedImageError:
        reason = "its header is damaged"
    except BROKEN as failure:
        reason = str(failure)
    raise Error(f"{name} is a broken image ({reason}). Replace it or remove it.")


def decode_fitted(data: bytes, name: str, fit: str, out: np.ndarray) -> None:
    """Decode an image, fit it to the height and width of `out`, and write it there.

    Args:
        data: the encoded image.
        name: how the Error of a broken image names it.
        fit: a key of FITS.
        out: uint8 [H, W, 3], C-contiguous.

    Raises:
        Error: as in `decode`.
    """
    pixels = decode(data, name, out)
    if pixels is not out:
        out[:] = FITS[fit](pixels, *out.shape[:2])


def image_suffix(data: bytes, name: str) -> str:
    """Return `jpg` or `png`, from the first bytes.

    Args:
        data: the encoded image.
        name: how the Error names it.

    Raises:
        Error: the bytes are neither JPEG nor PNG.
    """
    if data.startswith(JPEG_START):
        return "jpg"
    if data.startswith(PNG_START):
        return "png"
    raise Error(f"{name} is a broken image (its bytes are neither JPEG nor PNG). Replace it or remove it.")


def resize(
    image: np.ndarray, height: int, width: int, resampling: Image.Resampling = Image.Resampling.BILINEAR
) -> np.ndarray:
    """Resize an image, antialiased.

    Args:
        image: uint8 [H, W, 3].
        height: of the result in px; `width` likewise.
        resampling: PIL's filter.

    Returns:
        uint8 [height, width, 3]; the same array if it has this size already.
    """
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), resampling))


def cover(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize the uint8 image [H, W, 3] to cover height x width px with its aspect ratio kept, and crop the center.

    This is PaddleClas's rule for square targets: the short side is resized exactly, the long side is rounded.
    """
    scale = max(height / image.shape[0], width / image.shape[1])
    rows, columns = (max(round(side * scale), least) for side, least in zip(image.shape, (height, width), strict=False))
    whole = resize(image, rows, columns)
    top, left = (rows - height) // 2, (columns - width) // 2
    return whole[top : top + height, left : left + width]


# how an image of any shape is resized to a fixed size; an image of that size stays as it is
FITS: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "stretch": resize,
    "bicubic": partial(resize, resampling=Image.Resampling.BICUBIC),
    "cover": cover,
}


def _decode_with_turbo(data: bytes, out: np.ndarray | None) -> np.ndarray | None:
    """Return the pixels of a JPEG, in `out` if it has their shape, or None if PIL should decide."""
    try:
        height, width, colors = simplejpeg.decode_jpeg_header(data)[:3]
    except ValueError:
        return None
    _refuse_giants(height, width)
    if colors in ("CMYK", "YCCK"):
        return None
    if out is not None and out.shape[:2] != (height, width):
        out = None
    try:
        pixels = np.asarray(simplejpeg.decode_jpeg(data, colorspace="RGB", buffer=out, strict=True))
    except ValueError:
        return None
    return pixels if out is None else out


def _decode_with_pil(data: bytes) -> np.ndarray:
    if data.startswith(PNG_START) and data[12:16] == b"IHDR":  # checked first: PIL warns about huge images
        width, height = struct.unpack(">II", data[16:24])
        _refuse_giants(height, width)
    with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
        _refuse_giants(image.height, image.width)
        if image.mode.startswith(("I", "F")):  # PIL would clip these to white
            raise ValueError("more than 8 bits per channel")
        return np.asarray(image.convert("RGB"))


def _refuse_giants(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise ValueError(f"{width} x {height} px is more than {MAX_PIXELS:,} pixels")
