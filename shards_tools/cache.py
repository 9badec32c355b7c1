"""Pixels decoded once per machine and mapped by all processes: a search reads the same ones in every trial."""

import logging
import math
import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np

from shards_tools.decode import FITS, decode
from shards_tools.errors import Error
from shards_tools.folders import build_once
from shards_tools.manifest import Manifest
from shards_tools.processes import num_cpus
from shards_tools.progress import progress
from shards_tools.quota import keep_within_quota
from shards_tools.reader import read_span, spans
from shards_tools.threads import in_order

log = logging.getLogger(__name__)

PIXELS_VERSION = 1  # raised when equal images would give other pixels
FIT_NAMES = {"stretch": "bilinear", "bicubic": "bicubic", "cover": "bilinear-cover"}  # in the names of folders


def cache_folder() -> Path:
    """Where this machine keeps what can be made again: $SAKUGA_CACHE, or ~/.cache/sakuga."""
    return Path(os.environ.get("SAKUGA_CACHE") or Path.home() / ".cache" / "sakuga")


def decoded(
    manifest: Manifest, height: int, width: int, folder: Path | None = None, fit: str = "stretch"
) -> np.ndarray:
    """All images as a read-only uint8 memory map [num_images, height, width, 3], RGB and antialiased.

    Made by the first caller, under a lock, and kept in `folder` (`cache_folder()` if None) under a name that says all
    that the pixels depend on. The processes of a machine share one copy in the page cache. What was used longest ago
    goes when the quota is full; who has mapped it keeps it.

    Args:
        fit: one of FITS of decode.py.
    """
    folder = folder or cache_folder()
    target = pixels_place(manifest, height, width, folder, fit)
    while True:
        place = build_once(target, lambda room: _decode_all(manifest, height, width, fit, room))
        try:
            pixels: np.ndarray = np.load(place / "pixels.npy", mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:  # another process has made room between the two lines above
            continue
        keep_within_quota(folder, used=place)
        return pixels


def pixels_place(manifest: Manifest, height: int, width: int, folder: Path | None = None, fit: str = "stretch") -> Path:
    """Where the decoded images of this size stand once somebody has asked for them."""
    name = f"pixels-{manifest.fingerprint}-{height}x{width}-{FIT_NAMES[fit]}-v{PIXELS_VERSION}"
    return (folder or cache_folder()) / name


def _decode_all(manifest: Manifest, height: int, width: int, fit: str, room: Path) -> None:
    log.info("decoding %s images to %d x %d px, once for this machine", f"{manifest.num_images:,}", height, width)
    shape = (manifest.num_images, height, width, 3)
    _refuse_full_disk(math.prod(shape), room)
    pixels = np.lib.format.open_memmap(room / "pixels.npy", mode="w+", dtype=np.uint8, shape=shape)

    def fill(span: np.ndarray) -> int:
        for index, data in zip(span, read_span(manifest, span), strict=True):
            pixels[index] = FITS[fit](decode(data, str(manifest.keys[index])), height, width)
        return len(span)

    # by all CPUs, as everybody else on this machine waits for it
    with progress("decoding", manifest.num_images) as advance:
        for number in in_order((partial(fill, span) for span in spans(manifest)), num_cpus()):
            advance(number)
    pixels.flush()


def _refuse_full_disk(num_bytes: int, folder: Path) -> None:
    # Writing a memory map past the end of the disk is no exception but a signal that kills the process.
    free = shutil.disk_usage(folder).free
    if free < num_bytes:
        raise Error(
            f"The decoded images need {num_bytes / 1e9:.1f} GB, {folder.parent} has {free / 1e9:.1f} GB left."
            " Set SAKUGA_CACHE to a folder on a larger disk."
        )
