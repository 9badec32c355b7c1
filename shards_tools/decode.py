"""Decode pictures to RGB arrays; the format is detected from the bytes, never from a file name."""

import io
import struct
import warnings
import zlib
from collections.abc import Callable

import numpy as np
import simplejpeg
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError, features

from shards_tools.conversion import AS_STORED, Conversion
from shards_tools.errors import Error
from shards_tools.fits import FITS
from shards_tools.formats import FORMATS, NAMES, STORED, described, format_of
from shards_tools.picture_limits import (
    Unsupported,
    png_chunks,
    refuse_giants,
    refuse_large_file,
    refuse_many_parts,
    refuse_many_scans,
)

TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
TILE_SIZE = (TiffImagePlugin.TILELENGTH, TiffImagePlugin.TILEWIDTH)
BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    RuntimeError,
    EOFError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
# PIL warns about what it tolerates; here a picture is either decoded or refused with one line.
warnings.filterwarnings("ignore", module=r"PIL\.")
# EXIF's orientation -> the same pixels [H, W, 3], upright
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}


class PictureError(Error):
    """A picture that cannot be decoded; `reason` says why without its name."""

    def __init__(self, name: str, reason: str, remedy: str = "Replace it or remove it") -> None:
        super().__init__(f"{name} {reason}. {remedy}.")
        self.reason = reason


def decode(data: bytes, name: str, out: np.ndarray | None = None, conversion: Conversion = AS_STORED) -> np.ndarray:
    """Decode a picture to RGB uint8 [H, W, 3].

    JPEG is decoded by libjpeg-turbo (2.5 times as fast as PIL, the same pixels). If libjpeg-turbo warns, PIL decides:
    it accepts harmless oddities, rejects truncated files, and decodes the rare CMYK images. Gray and palette images
    become RGB, and an animation its first frame. Of 16-bit color only the high byte is kept; 16-bit gray is an Error.

    Args:
        data: the encoded picture.
        name: how the Error of a broken picture names it.
        out: uint8, C-contiguous; a JPEG of this height and width is decoded into it, which saves memory and a copy.
        conversion: what to do with transparent pixels and EXIF's orientation.

    Returns:
        The pixels: `out` itself if they were decoded into it. Otherwise the content of `out` is undefined.

    Raises:
        PictureError: the bytes are no intact picture of a known format, or it has too many pixels.
    """
    return _decode(data, name, out, conversion)[0]


def convert(data: bytes, name: str, conversion: Conversion) -> tuple[bytes, np.ndarray]:
    """Return the bytes that shards store for a picture, and its pixels.

    These are its own bytes if they are a JPEG or PNG that `decode` reads as the conversion asks; otherwise its pixels
    as a PNG. Readers of shards thus need no conversion and only two formats.

    Raises:
        PictureError: as in `decode`.
    """
    pixels, changed = _decode(data, name, None, conversion)
    if not changed:
        return data, pixels
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue(), pixels


def decode_fitted(data: bytes, name: str, fit: str, out: np.ndarray, conversion: Conversion = AS_STORED) -> None:
    """Decode a picture, fit it to the height and width of `out`, and write it there.

    Args:
        data: the encoded picture.
        name: how the Error of a broken picture names it.
        fit: a key of FITS.
        out: uint8 [H, W, 3], C-contiguous.
        conversion: as in `decode`.

    Raises:
        PictureError: as in `decode`.
    """
    pixels = decode(data, name, out, conversion)
    if pixels is not out:
        out[:] = FITS[fit](pixels, *out.shape[:2])


def image_suffix(data: bytes, name: str) -> str:
    """Return `jpg` or `png`, from the first bytes of an image in shards.

    Args:
        data: the encoded image.
        name: how the Error names it.

    Raises:
        PictureError: the bytes are neither JPEG nor PNG.
    """
    kind = format_of(data)
    if kind not in STORED:
        raise PictureError(name, "is a broken image (its bytes are neither JPEG nor PNG)")
    return STORED[kind]


def _decode(data: bytes, name: str, out: np.ndarray | None, conversion: Conversion) -> tuple[np.ndarray, bool]:
    """Return the pixels, and whether they differ from those of the same bytes in shards."""
    kind = format_of(data)
    if kind not in FORMATS:
        raise _stranger(data, name, kind)
    try:
        refuse_large_file(data)
        pixels = _decode_with_turbo(data, out) if kind == "JPEG" else None
        if pixels is None:
            return _decode_with_pil(data, kind, conversion)
        turn = UPRIGHT.get(_orientation_of_jpeg(data)) if conversion.exif_orientation else None
        return (pixels, False) if turn is None else (np.ascontiguousarray(turn(pixels)), True)
    except Unsupported as failure:
        reason = f"cannot be used: this {described(kind, name)} has {failure}"
        raise PictureError(name, reason, "Convert it or remove it") from None
    except UnidentifiedImageError:
        reason = "its header is damaged"
    except BROKEN as failure:
        reason = str(failure)
    raise PictureError(name, f"is a broken image ({described(kind, name)}: {reason})")


def _stranger(data: bytes, name: str, kind: str | None) -> PictureError:
    if kind is not None:
        reason = f"is a {described(kind, name)}, which is not supported"
        return PictureError(name, reason, f"Convert it to {NAMES}, or remove it")
    what = f"its first bytes are {data[:8]!r}" if data else "it is empty"
    return PictureError(name, f"is not an image in a known format ({what})", f"Use {NAMES}, or remove it")


def _decode_with_turbo(data: bytes, out: np.ndarray | None) -> np.ndarray | None:
    """Return the pixels of a JPEG, in `out` if it has their shape, or None if PIL should decide."""
    try:
        height, width, colors = simplejpeg.decode_jpeg_header(data)[:3]
    except ValueError:
        return None
    refuse_giants(height, width)
    refuse_many_scans(data, height, width)
    if colors in ("CMYK", "YCCK"):
        return None
    if out is not None and out.shape[:2] != (height, width):
        out = None
    try:
        pixels = np.asarray(simplejpeg.decode_jpeg(data, colorspace="RGB", buffer=out, strict=True))
    except ValueError:
        return None
    return pixels if out is None else out


def _decode_with_pil(data: bytes, kind: str, conversion: Conversion) -> tuple[np.ndarray, bool]:
    """Return the pixels, and whether they differ from those of the same bytes in shards."""
    if kind == "PNG" and data[12:16] == b"IHDR":  # checked first: PIL warns about huge images
        width, height = struct.unpack(">II", data[16:24])
        refuse_giants(height, width)
    if kind in ("WebP", "AVIF") and not features.check(kind.lower()):
        raise Unsupported("a format that the installed Pillow was built without")
    try:
        image = _load(data, kind)
    except ValueError:
        shorter = _without_texts(data) if kind == "PNG" else data
        if shorter is data:
            raise
        image = _load(shorter, kind)  # PIL refuses texts and color profiles of more than 1 MB
    turn = UPRIGHT.get(_orientation(image)) if conversion.exif_orientation else None
    pixels, composited = _to_rgb(image, conversion.background)
    if turn is not None:
        pixels = np.ascontiguousarray(turn(pixels))
    return pixels, composited or turn is not None or kind not in STORED


def _load(data: bytes, kind: str) -> Image.Image:
    refuse_many_parts(data, kind)
    image = Image.open(io.BytesIO(data), formats=(kind.upper(),))
    refuse_giants(image.height, image.width)
    if kind == "JPEG":
        refuse_many_scans(data, image.height, image.width)
    if isinstance(image, TiffImagePlugin.TiffImageFile):  # a tile is decoded as a whole, and may be larger than it
        height, width = (image.tag_v2.get(tag, 0) for tag in TILE_SIZE)
        refuse_giants(height, width, "tiles of ")
    image.load()
    return image


def _to_rgb(image: Image.Image, background: str | None) -> tuple[np.ndarray, bool]:
    """Return the pixels on the background, and whether any was transparent."""
    if image.mode.startswith(("I", "F")):  # PIL would clip these to white
        raise Unsupported("more than 8 bits per channel")
    try:
        if image.has_transparency_data:
            image = image.convert("RGBA")
            if background is not None and image.getchannel("A").getextrema() != (255, 255):
                canvas = Image.new("RGBA", image.size, background)
                canvas.alpha_composite(image)
                return np.asarray(canvas.convert("RGB")), True
        return np.asarray(image.convert("RGB")), False
    except ValueError:
        raise Unsupported(f"colors of the kind {image.mode}") from None


def _orientation_of_jpeg(data: bytes) -> int:
    try:
        refuse_many_parts(data, "JPEG")
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            return _orientation(image)
    except BROKEN:  # libjpeg-turbo has decoded it
        return 1


def _orientation(image: Image.Image) -> int:
    """Return EXIF's orientation, or 1 if there is none or the EXIF block is damaged."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a damaged block can raise nearly anything
        return 1
    return found if isinstance(found, int) else 1


def _without_texts(png: bytes) -> bytes:
    """Return the PNG without its texts and color profile; the same object if it has none."""
    pieces, kept = [], 0
    for name, start, end in png_chunks(png):
        if name in TEXT_CHUNKS:
            pieces.append(png[kept:start])
            kept = end
    return b"".join([*pieces, png[kept:]]) if pieces else png
