"""Write one shard from the list of its images, or reuse it if an unfinished build left it.

Until the whole build is done, a JSON file next to each finished shard records its inputs and results.
"""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg

from shards_tools.conversion import Conversion
from shards_tools.decode import PictureError, convert, image_suffix
from shards_tools.errors import Error
from shards_tools.folders import write_durably
from shards_tools.picture_limits import MAX_FILE_BYTES, read_picture
from shards_tools.writer import ShardWriter

BOX_QUALITY = 95  # JPEG, with full color resolution: a crop is compressed a second time
BOX_NOTE = f"images were cropped to their boxes and compressed again as JPEG of quality {BOX_QUALITY}, 4:4:4"
BOX_BYTES_PER_PX = 0.6  # an estimate that distributes crops over shards
ASSIGNMENT_VERSION = 2  # increase when the same assignment gives different bytes

Row = list[Any]  # path, key, work id, bytes and modification time of the file, box or None


def make_shard(job: dict[str, Any]) -> dict[str, Any]:
    """Write the shard `job["path"]` of the images `job["rows"]`, unless it exists already.

    Returns:
        The `shard` as a dict; `places`: offset, size, sha256, height and width of each image; and `broken`: pairs of a
        broken image's position in the rows and the reason. The shard does not hold it, and its place is all zeros.
    """
    path = Path(job["path"])
    beside = path.with_suffix(".json")
    assignment = _digest(job)
    found = _left_over(path, beside, assignment)
    if found:
        return {**found, "taken_over": True}
    beside.unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    places, broken = [], []
    conversion = Conversion(**job["conversion"])
    with ShardWriter(path) as writer:
        for number, row in enumerate(job["rows"]):
            try:
                data, height, width = _load(row, conversion)
            except PictureError as failure:
                broken.append([number, failure.reason])
                places.append([0, 0, "", 0, 0])
                continue
            offset = writer.add(row[1], image_suffix(data, row[0]), data, row[2])
            places.append([offset, len(data), hashlib.sha256(data).hexdigest(), height, width])
        shard = writer.finish()
    made = {"shard": asdict(shard), "places": places, "broken": broken}
    write_durably(beside, json.dumps({"assignment": assignment, **made}).encode())
    return {**made, "taken_over": False}


def rewrite_shard(job: dict[str, Any]) -> dict[str, Any]:
    """Replace the shard `job["path"]` by one with only the images `job["rows"]`, copied without decoding them.

    Args:
        job: `rows` holds key, work id, offset and size in the present shard of each image.

    Returns:
        The new `shard` as a dict, and the new `offsets`.
    """
    path = Path(job["path"])
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)
    offsets = []
    with open(path, "rb") as present, ShardWriter(beside) as writer:
        for key, work, offset, size in job["rows"]:
            present.seek(offset)
            data = present.read(size)
            offsets.append(writer.add(key, image_suffix(data, key), data, work))
        shard = writer.finish()
    os.replace(beside, path)
    return {"shard": {**asdict(shard), "name": path.name}, "offsets": offsets}


def _digest(job: dict[str, Any]) -> str:
    parts = [ASSIGNMENT_VERSION, BOX_QUALITY, job["conversion"], job["rows"]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


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


def _load(row: Row, conversion: Conversion) -> tuple[bytes, int, int]:
    """Return the bytes to store in the shard, and height and width in px."""
    name, _, _, num_bytes, _, box = row
    try:
        data = read_picture(Path(name))
    except OSError as failure:
        raise PictureError(name, f"cannot be read: {failure.strerror}") from None
    if len(data) != min(num_bytes, MAX_FILE_BYTES + 1):
        raise Error(f"{name} changed during the build. Start the build again when no files change.")
    data, pixels = convert(data, name, conversion)
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
        raise PictureError(name, f"has {width} x {height} px, so its box {place} is empty")
    return np.ascontiguousarray(inside)
