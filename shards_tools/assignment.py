"""Write one shard from the list of its images, or reuse it if an interrupted build left it.

Until the whole build is done, a JSON file next to each finished shard records its inputs and results.
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

BOX_QUALITY = 95  # JPEG, with full color resolution: a crop is compressed a second time
BOX_NOTE = f"images were cropped to their boxes and compressed again as JPEG of quality {BOX_QUALITY}, 4:4:4"
BOX_BYTES_PER_PX = 0.6  # an estimate that distributes crops over shards
ASSIGNMENT_VERSION = 1  # increase when the same assignment gives different bytes

Row = list[Any]  # path, key, work id, bytes and modification time of the file, box or None


def make_shard(job: dict[str, Any]) -> dict[str, Any]:
    """Write the shard `job["path"]` of the images `job["rows"]`, unless it exists already.

    Returns:
        The `shard` as a dict, and `places`: offset, size, sha256, height and width of each image.
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
    """Return the content of the JSON file next to the shard if it matches the shard and the assignment, else None."""
    try:
        found = json.loads(beside.read_bytes())
        if found.pop("assignment") != assignment:
            return None
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return found if digest == found["shard"]["sha256"] else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # missing, truncated or not ours
        return None


def _load(row: Row) -> tuple[bytes, int, int]:
    """Return the bytes to store in the shard, and height and width in px."""
    name, _, _, num_bytes, _, box = row
    try:
        data = Path(name).read_bytes()
    except OSError as failure:
        raise Error(f"{name} cannot be read: {failure.strerror}. Make it readable or remove it.") from None
    if len(data) != num_bytes:
        raise Error(f"{name} changed during the build. Start the build again when no files change.")
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
        raise Error(f"{name} has {width} x {height} px, so its box {place} is empty. Correct it or remove it.")
    return np.ascontiguousarray(inside)
