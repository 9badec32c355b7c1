"""From bytes to pixels, and what is refused on the way."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from shards_tools.decode import decode, image_suffix, resize
from shards_tools.errors import Error


def encoded(image: Image.Image, kind: str, **settings) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def smooth_picture() -> Image.Image:
    y, x = np.mgrid[:40, :56]
    return Image.fromarray(np.stack([x * 4, y * 6, 255 - x * 2 - y], axis=-1).astype(np.uint8))


@pytest.mark.parametrize(
    ("kind", "mode"), [("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGB"), ("PNG", "1"), ("PNG", "P")]
)
def test_pixels_are_those_of_pil(kind, mode):
    data = encoded(smooth_picture().convert(mode), kind)
    pixels = decode(data, "x")
    assert pixels.dtype == np.uint8
    assert pixels.shape == (40, 56, 3)
    np.testing.assert_array_equal(pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    assert image_suffix(data, "x") == {"JPEG": "jpg", "PNG": "png"}[kind]


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_cut_image_is_named(kind):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(Error, match=r"some/where\.png is a broken image"):
        decode(data[: len(data) * 9 // 10], "some/where.png")


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe EPSF"])
def test_bytes_that_are_no_image_are_named(data):
    with pytest.raises(Error, match="here is a broken image"):
        decode(data, "here")


def test_other_formats_are_refused_even_where_pil_could():
    with pytest.raises(Error, match="neither JPEG nor PNG"):
        decode(encoded(smooth_picture(), "BMP"), "x.png")


def test_sixteen_bits_are_refused_rather_than_clipped():
    deep = Image.fromarray((np.arange(64, dtype=np.uint16) * 900).reshape(8, 8))
    with pytest.raises(Error, match="more than 8 bits"):
        decode(encoded(deep, "PNG"), "x.png")


def test_a_giant_is_refused_before_it_is_decoded():
    header = struct.pack(">IIBBBBB", 200_000, 200_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    with pytest.raises(Error, match="broken image"):
        decode(data + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT")), "bomb.png")


def test_resizing_averages_what_it_skips():
    checks = np.zeros((64, 64, 3), dtype=np.uint8)
    checks[::2, ::2] = checks[1::2, 1::2] = 255
    assert np.abs(resize(checks, 16, 8)[2:-2, 2:-2].astype(int) - 127).max() <= 2
    assert resize(checks, 16, 8).shape == (16, 8, 3)
    assert resize(checks, 64, 64) is checks
