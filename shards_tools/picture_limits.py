"""Limits on pictures of which a few bytes would take much memory or time; checked before they are decoded."""

import struct
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

MAX_FILE_BYTES = 2**29  # more than the largest image takes, uncompressed and with 16 bits per channel
MAX_PIXELS = 64 * 2**20  # a tiny file can claim any size
# Each scan of a progressive JPEG costs a pass over all pixels, and takes as little as ten bytes of the file.
MAX_SCANS, MAX_PIXELS_OF_SCANS = 100, 10 * MAX_PIXELS
START_OF_SCAN = b"\xff\xda"  # not in the data of a scan, where every ff is followed by 00 or a restart marker
# PIL reads parts that hold no pixels one by one in Python. The largest image takes 50,000 chunks of 8 KiB.
MAX_PARTS = 100_000
MAX_EXIF_SEGMENTS = 100  # PIL copies all of the EXIF data for each
PNG_SIGNATURE_BYTES, PNG_CHUNK_BYTES = 8, 12  # of a chunk: length, name and checksum


class Unsupported(ValueError):
    """An intact picture of a kind that is not decoded; the message follows "this JPEG has"."""


def read_picture(path: Path) -> bytes:
    """Return the bytes of a file, and at most one byte more than `refuse_large_file` accepts.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return file.read(MAX_FILE_BYTES + 1)


def refuse_large_file(data: bytes) -> None:
    """Raise Unsupported if the file is larger than any image that is decoded."""
    if len(data) > MAX_FILE_BYTES:
        raise Unsupported(f"more than {MAX_FILE_BYTES:,} bytes")


def refuse_giants(height: int, width: int, what: str = "") -> None:
    """Raise Unsupported if an image, or the part of it that `what` names, has too many pixels."""
    if height * width > MAX_PIXELS:
        raise Unsupported(f"{what}{width} x {height} px, which is more than {MAX_PIXELS:,} pixels")


def refuse_many_scans(jpeg: bytes, height: int, width: int) -> None:
    """Raise Unsupported if decoding the scans takes too many passes over the pixels."""
    num_scans = jpeg.count(START_OF_SCAN)
    if num_scans > MAX_SCANS or num_scans * height * width > MAX_PIXELS_OF_SCANS:
        raise Unsupported(f"{num_scans:,} scans of {width} x {height} px, which would take long to decode")


def refuse_many_parts(data: bytes, kind: str) -> None:
    """Raise Unsupported if a picture has too many parts that PIL reads in Python.

    Args:
        data: the encoded picture.
        kind: a key of FORMATS.
    """
    if kind == "JPEG":
        _refuse_more(_jpeg_segments(data), MAX_PARTS, "segments")
        exif = (
            start for start in _jpeg_segments(data) if data[start + 1] == 0xE1 and data.startswith(b"Exif", start + 4)
        )
        _refuse_more(exif, MAX_EXIF_SEGMENTS, "EXIF segments")
    elif kind == "PNG":
        _refuse_more(png_chunks(data), MAX_PARTS, "chunks")
    elif kind == "GIF":
        _refuse_more(_gif_blocks(data), MAX_PARTS, "blocks before its first frame")


def png_chunks(png: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and end of each chunk."""
    start = PNG_SIGNATURE_BYTES
    while start + PNG_CHUNK_BYTES <= len(png):
        length, name = struct.unpack_from(">I4s", png, start)
        end = start + PNG_CHUNK_BYTES + length
        yield name, start, end
        start = end


def _jpeg_segments(jpeg: bytes) -> Iterator[int]:
    """Yield the start of each segment, and of each byte between segments, up to the first scan."""
    start = 2
    while start + 4 <= len(jpeg):
        yield start
        marker = jpeg[start + 1]
        if jpeg[start] != 0xFF or marker == 0xFF:  # PIL skips bytes that start no segment
            start += 1
        elif jpeg[start : start + 2] == START_OF_SCAN:
            return
        elif marker == 0 or 0xD0 <= marker <= 0xD9:  # without data
            start += 2
        else:
            start += 2 + int.from_bytes(jpeg[start + 2 : start + 4])


def _gif_blocks(gif: bytes) -> Iterator[int]:
    """Yield the place of each block, and of each byte between blocks, up to the first frame."""
    if len(gif) < 13:
        return
    place = 13 + (3 << (gif[10] % 8 + 1) if gif[10] & 0x80 else 0)  # after the header and its table of colors
    while place < len(gif) and gif[place] not in b",;":
        yield place
        if gif[place] != 0x21:  # PIL skips bytes that start no extension
            place += 1
            continue
        place += 2
        while place < len(gif) and gif[place]:
            yield place
            place += gif[place] + 1
        place += 1


def _refuse_more(parts: Iterator[object], limit: int, what: str) -> None:
    if next(islice(parts, limit, None), None) is not None:
        raise Unsupported(f"more than {limit:,} {what}, which would take long to read")
