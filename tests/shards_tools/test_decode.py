"""Decoding bytes to pixels, and which images are rejected."""

import gzip
import io
import re
import struct
import subprocess
import tracemalloc
import zlib

import numpy as np
import pytest
import simplejpeg
from PIL import ExifTags, Image, ImageOps, JpegImagePlugin

from shards_tools.decode import decode, decode_fitted, image_suffix
from shards_tools.errors import Error
from shards_tools.fits import FITS, resize


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


@pytest.mark.parametrize(
    ("kind", "mode", "in_place"),
    [("JPEG", "RGB", True), ("JPEG", "L", True), ("JPEG", "CMYK", False), ("PNG", "RGB", False), ("PNG", "P", False)],
)
def test_a_jpeg_is_decoded_into_an_array_of_its_size(kind, mode, in_place):
    data = encoded(smooth_picture().convert(mode), kind)
    whole = decode(data, "x")
    row = np.full((3, 40, 56, 3), 7, np.uint8)
    pixels = decode(data, "x", row[1])
    np.testing.assert_array_equal(pixels, whole)
    assert np.shares_memory(pixels, row) == in_place
    assert (row[[0, 2]] == 7).all()
    wider = np.full((40, 57, 3), 7, np.uint8)
    np.testing.assert_array_equal(decode(data, "x", wider), whole)
    assert (wider == 7).all()


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(40, 56), (56, 40), (13, 64)])
@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "RGB"), ("JPEG", "CMYK"), ("PNG", "RGB")])
def test_an_image_is_fitted_to_the_array_it_is_decoded_into(fit, size, kind, mode):
    data = encoded(smooth_picture().convert(mode), kind)
    out = np.full((*size, 3), 7, np.uint8)
    decode_fitted(data, "x", fit, out)
    np.testing.assert_array_equal(out, FITS[fit](decode(data, "x"), *size))


@pytest.mark.parametrize("fit", FITS)
def test_no_fit_changes_an_image_of_the_right_size(fit):
    pixels = np.asarray(smooth_picture())
    np.testing.assert_array_equal(FITS[fit](pixels, 40, 56), pixels)


def test_an_oddity_that_only_pil_accepts_gives_the_same_pixels_in_an_array():
    data = encoded(smooth_picture(), "JPEG")
    frame = data.find(b"\xff\xc0")
    odd = data[:frame] + b"\0\0\0" + data[frame:]  # libjpeg-turbo warns of bytes before a marker
    with pytest.raises(ValueError, match="extraneous bytes"):
        simplejpeg.decode_jpeg(odd)
    out = np.empty((40, 56, 3), np.uint8)
    decode_fitted(odd, "x", "stretch", out)
    np.testing.assert_array_equal(out, decode(data, "x"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_cut_image_is_named(kind):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(Error, match=r"some/where\.png is a broken image"):
        decode(data[: len(data) * 9 // 10], "some/where.png")
    with pytest.raises(Error, match=r"some/where\.png is a broken image"):
        decode_fitted(data[: len(data) * 9 // 10], "some/where.png", "stretch", np.empty_like(noise))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", r"is not an image in a known format \(it is empty\)"),
        (b"hello", r"is not an image in a known format \(its first bytes are b'hello'\)"),
        (b"\xff\xd8\xff", r"is a broken image \(JPEG: its header is damaged\)"),
        (b"\x89PNG\r\n\x1a\n", r"is a broken image \(PNG: its header is damaged\)"),
        (gzip.compress(b"\xff\xd8\xff", mtime=0), "is not an image in a known format"),
    ],
)
def test_bytes_that_are_no_image_are_named(data, reason):
    with pytest.raises(Error, match=f"here {reason}"):
        decode(data, "here")


def test_formats_that_shards_do_not_hold_have_no_suffix_there():
    with pytest.raises(Error, match="neither JPEG nor PNG"):
        image_suffix(encoded(smooth_picture(), "BMP"), "x.png")


def test_sixteen_bits_are_refused_rather_than_clipped():
    deep = Image.fromarray((np.arange(64, dtype=np.uint16) * 900).reshape(8, 8))
    with pytest.raises(Error, match="more than 8 bits"):
        decode(encoded(deep, "PNG"), "x.png")


def test_of_sixteen_bit_color_the_high_byte_is_taken():
    samples = np.random.default_rng(0).integers(0, 2**16, (5, 7, 3))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    np.testing.assert_array_equal(decode(png(7, 5, 16, rows), "x.png"), samples >> 8)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_a_rotation_that_exif_asks_for_is_not_applied(kind, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    rotated = encoded(smooth_picture(), kind, exif=exif)
    assert ImageOps.exif_transpose(Image.open(io.BytesIO(rotated))).tobytes() != smooth_picture().tobytes()
    np.testing.assert_array_equal(decode(rotated, "x"), decode(encoded(smooth_picture(), kind), "x"))


def with_size(jpeg: bytes, width: int, height: int) -> bytes:
    """Return the JPEG with another size in its frame header (baseline or progressive)."""
    place = max(jpeg.find(b"\xff\xc0"), jpeg.find(b"\xff\xc2")) + 5
    return jpeg[:place] + struct.pack(">HH", height, width) + jpeg[place + 4 :]


def png(width: int, height: int, bits: int, rows: bytes) -> bytes:
    """Return a handwritten color PNG with the given header."""
    header = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    chunks = {b"IHDR": header, b"IDAT": zlib.compress(rows), b"IEND": b""}
    coded = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks.items()
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(coded)


GIANTS = {
    "baseline": lambda *size: with_size(encoded(smooth_picture(), "JPEG"), *size),
    "progressive": lambda *size: with_size(encoded(smooth_picture(), "JPEG", progressive=True), *size),
    "CMYK": lambda *size: with_size(encoded(smooth_picture().convert("CMYK"), "JPEG"), *size),
    "PNG": lambda *size: png(*size, 8, b""),
}


@pytest.mark.parametrize("kind", GIANTS)
@pytest.mark.parametrize("size", [(9_000, 8_000), (10_000, 10_000), (65_500, 65_500)])  # PIL warns about the second
def test_a_giant_is_refused_before_memory_is_taken_for_it(kind, size):
    data = GIANTS[kind](*size)
    tracemalloc.start()
    with pytest.raises(Error, match=f"bomb cannot be used: .* {size[0]} x {size[1]} px, which is more than 67,108,864"):
        decode(data, "bomb")
    assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    tracemalloc.stop()


def repeated_last_scan(mode, side, times):
    """A progressive JPEG of one color whose last scan comes again and again, as a bomb has it."""
    file = io.BytesIO()
    Image.new(mode, (side, side), 128 if mode == "L" else (128,) * 4).save(file, "JPEG", progressive=True)
    jpeg = file.getvalue()
    *_, before, last = (found.start() for found in re.finditer(b"\xff\xda", jpeg))
    tables = jpeg.rfind(b"\xff\xc4", before, last)  # of Huffman codes, for this scan
    return jpeg[:-2] + jpeg[last if tables < 0 else tables : -2] * times + jpeg[-2:]


@pytest.mark.parametrize("mode", ["L", "CMYK"])
@pytest.mark.parametrize(("side", "times"), [(64, 200), (8000, 12)])
def test_a_jpeg_of_many_scans_is_refused_before_it_is_decoded(mode, side, times, monkeypatch):
    data = repeated_last_scan(mode, side, times)
    assert len(data) < 2 * 2**20
    monkeypatch.setattr(simplejpeg, "decode_jpeg", None)
    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", None)
    with pytest.raises(Error, match=rf"bomb cannot be used: this JPEG has \d+ scans of {side} x {side} px"):
        decode(data, "bomb")


def test_a_progressive_jpeg_of_ordinary_scans_is_decoded():
    assert decode(repeated_last_scan("L", 64, 3), "x").shape == (64, 64, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_wherever_a_file_is_cut_it_is_refused_or_whole(kind):
    data = encoded(smooth_picture(), kind)
    whole = decode(data, "x")
    refused = 0
    for length in range(len(data)):
        try:
            np.testing.assert_array_equal(decode(data[:length], "x"), whole)
        except Error:
            refused += 1
    assert refused >= len(data) - 24, "only what follows the pixels of a PNG may be missed: checksums and the end mark"


@pytest.mark.parametrize("start", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"])
def test_postscript_is_never_run_whatever_it_starts_with(start, monkeypatch):
    def run(*_, **__):
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", run)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    with pytest.raises(Error, match=r"x\.jpg is .*(its first bytes|header is damaged)"):
        decode(start + eps, "x.jpg")


def test_resizing_averages_what_it_skips():
    checks = np.zeros((64, 64, 3), dtype=np.uint8)
    checks[::2, ::2] = checks[1::2, 1::2] = 255
    assert np.abs(resize(checks, 16, 8)[2:-2, 2:-2].astype(int) - 127).max() <= 2
    assert resize(checks, 16, 8).shape == (16, 8, 3)
    assert resize(checks, 64, 64) is checks
