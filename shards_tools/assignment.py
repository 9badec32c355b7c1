"""One shard from the list of its images: written, or taken over as an interrupted build left it.

What a finished shard was made of and what came out stands in a file beside it, until the whole build is done.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg

from shards_tools.decode import decode, image_suffix
from shards_tools.errors import Error
from shards_tools.folders import write_durably
from shards_tools.writer import ShardWriter

BOX_QUALITY = 95  # of JPEG, with full colour resolution: what is cut out is compressed a second time
BOX_NOTE = f"Boxes were cut out of their images and compressed again: JPEG of quality {BOX_QUALITY}, 4:4:4."
BOX_BYTES_PER_PX = 0.6  # an estimate, by which boxes are shared out between shards
ASSIGNMENT_VERSION = 1  # raised when an equal assignment gives other bytes

Row = list[Any]  # path, key, work's id, bytes and time of the file, box or None


def make_shard(job: dict[str, Any]) -> dict[str, Any]:
    """Write the shard `job["path"]` of the images `job["rows"]`, unless it is there already.

    The answer holds the `shard` as a dict and, per image, the `places`: offset, size, sha256, height, width.
    """
    path = Path(job["path"])
    beside = path.with_suffix(".json")
    assignment = _digest(job["rows"])
    found = _left_over(path, beside, assignment)
    if found:
        return {**found, "taken_over": True}
    beside.unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    places = []
    with ShardWriter(path) as writer:
        for row in job["rows"]:
            data, height, width = _load(row)
            offset = writer.add(row[1], image_suffix(data, row[0]), data, row[2])
            places.append([offset, len(data), hashlib.sha256(data).hexdigest(), height, width])
        shard = writer.finish()
    made = {"shard": asdict(shard), "places": places}
    write_durably(beside, json.dumps({"assignment": assignment, **made}).encode())
    return {**made, "taken_over": False}


def _digest(rows: list[Row]) -> str:
    return hashlib.sha256(json.dumps([ASSIGNMENT_VERSION, BOX_QUALITY, rows]).encode()).hexdigest()


def _left_over(path: Path, beside: Path, assignment: str) -> dict[str, Any] | None:
    """What the file beside the shard says, where shard and assignment are what it says."""
    try:
        found = json.loads(beside.read_bytes())
        if found.pop("assignment") != assignment:
            return None
        with open(path, "rb") as file:
            digest = hashlib.sha256()
            while chunk := file.read(2**20):
                digest.update(chunk)
        return found if digest.hexdigest() == found["shard"]["sha256"] else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # absent, cut or not ours
        return None


def _load(row: Row) -> tuple[bytes, int, int]:
    """The bytes that go into the shard, and height and width in px."""
    name, _, _, num_bytes, _, box = row
    try:
        data = Path(name).read_bytes()
    except OSError as failure:
        raise Error(f"{name} cannot be read: {failure.strerror}. Make it readable, or remove it.") from None
    if len(data) != num_bytes:
        raise Error(f"{name} was changed during the build. Start the build again when its files are at rest.")
    pixels = decode(data, name)
    if box is not None:
        pixels = _cut(pixels, box, name)
        data = simplejpeg.encode_jpeg(pixels, quality=BOX_QUALITY, colorspace="RGB", colorsubsampling="444")
    return data, *pixels.shape[:2]


def _cut(pixels: np.ndarray, box: list[int], name: str) -> np.ndarray:
    height, width = pixels.shape[:2]
    left, top, right, bottom = box
    inside = pixels[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if not inside.size:
        place = f"{left} {top} {right} {bottom} (left, top, right, bottom)"
        raise Error(f"{name} has {width} x {height} px, so its box {place} is empty. Correct it, or leave it out.")
    return np.ascontiguousarray(inside)
