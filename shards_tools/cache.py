"""Cache of decoded pixels: decoded once per machine and memory-mapped by the processes of every trial."""

import errno
import logging
import math
import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np

from shards_tools.checksums import damage_of, write_checksums
from shards_tools.decode import decode_fitted
from shards_tools.errors import Error, Unreadable
from shards_tools.folders import build_once, discard
from shards_tools.manifest import Manifest
from shards_tools.parallel import in_order, num_cpus
from shards_tools.progress import progress
from shards_tools.quota import keep_within_quota
from shards_tools.reader import read_span, spans

log = logging.getLogger(__name__)

PIXELS_NAME = "pixels.npy"
PIXELS_VERSION = 1  # increase when the same images give different pixels
FIT_NAMES = {"stretch": "bilinear", "bicubic": "bicubic", "cover": "bilinear-cover"}  # used in folder names


def cache_folder() -> Path:
    """Return the cache folder of this machine: $SAKUGA_CACHE, or ~/.cache/sakuga."""
    return Path(os.environ.get("SAKUGA_CACHE") or Path.home() / ".cache" / "sakuga")


def decoded(
    manifest: Manifest, height: int, width: int, folder: Path | None = None, fit: str = "stretch"
) -> np.ndarray:
    """Return all images as a read-only uint8 memory map [num_images, height, width, 3], RGB and antialiased.

    The first caller decodes the images, under a lock, into a folder whose name contains everything that the pixels
    depend on. All processes of a machine share one copy in the page cache. When the quota is full, the least recently
    used pixels are evicted; a process that has mapped them can still read them.

    Args:
        folder: the cache; `cache_folder()` if None.
        fit: a key of FITS in fits.py.

    Raises:
        Error: an image is damaged, or the disk has too little space.
    """
    folder = folder or cache_folder()
    target = pixels_place(manifest, height, width, folder, fit)
    rebuilt = False
    while True:
        build_once(target, lambda room: _decode_all(manifest, height, width, fit, room, target.name))
        if damage := _damage_of(target):
            if rebuilt:
                raise Unreadable(
                    f"The decoded images in {target} do not match their checksum right after they were rebuilt:"
                    f" {damage}. Set SAKUGA_CACHE to a folder on another disk."
                )
            # Another process may evict or rebuild them meanwhile. Of several that find the damage, one says so.
            if discard(target, lambda: _damage_of(target, complete=True) is not None):
                log.warning(
                    "the decoded images in %s do not match their checksum (%s): they are rebuilt", target, damage
                )
                rebuilt = True
            continue
        try:
            pixels: np.ndarray = np.load(target / PIXELS_NAME, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:  # just evicted by another process
            continue
        keep_within_quota(folder, used=target)
        return pixels


def _damage_of(place: Path, *, complete: bool = False) -> str | None:
    """Return how the decoded images differ from their checksums; None if they do not, or if there are none."""
    damage = damage_of(place / PIXELS_NAME, place.name, complete=complete)
    return damage if os.path.lexists(place) else None


def is_decoded(manifest: Manifest, height: int, width: int, fit: str = "stretch") -> bool:
    """Return whether the cache has the decoded images of this size; their checksums are not checked.

    Args:
        manifest: of the images.
        height: of the decoded images in px; `width` likewise.
        fit: a key of FITS in fits.py.
    """
    return (pixels_place(manifest, height, width, fit=fit) / PIXELS_NAME).exists()


def pixels_place(manifest: Manifest, height: int, width: int, folder: Path | None = None, fit: str = "stretch") -> Path:
    """Return the folder of the decoded images of this size, whether or not it exists.

    Args:
        manifest: its fingerprint is a part of the folder's name.
        height: of the decoded images in px; `width` likewise.
        folder: the cache; `cache_folder()` if None.
        fit: a key of FITS in fits.py.
    """
    name = f"pixels-{manifest.fingerprint}-{height}x{width}-{FIT_NAMES[fit]}-v{PIXELS_VERSION}"
    return (folder or cache_folder()) / name


def _decode_all(manifest: Manifest, height: int, width: int, fit: str, room: Path, name: str) -> None:
    log.info("decoding %s images to %d x %d px, once per machine", f"{manifest.num_images:,}", height, width)
    shape = (manifest.num_images, height, width, 3)
    _refuse_full_disk(math.prod(shape), room)
    file = room / PIXELS_NAME
    pixels = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
    _allocate(file)

    def fill(span: np.ndarray) -> int:
        for index, data in zip(span, read_span(manifest, span), strict=True):
            decode_fitted(data, manifest.keys[index], fit, pixels[index])
        return len(span)

    # with all CPUs, because every other process that needs the pixels waits
    with progress("decoding", manifest.num_images) as advance:
        for number in in_order((partial(fill, span) for span in spans(manifest)), num_cpus()):
            advance(number)
    pixels.flush()
    write_checksums(file, name)


def _refuse_full_disk(num_bytes: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < num_bytes:
        raise _disk_full(num_bytes, folder)


def _allocate(file: Path) -> None:
    """Allocate the blocks of the file: if the disk filled later, writing to the map would kill this process."""
    num_bytes = file.stat().st_size
    with open(file, "r+b") as content:
        try:
            os.posix_fallocate(content.fileno(), 0, num_bytes)
        except OSError as failure:
            if failure.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise _disk_full(num_bytes, file.parent) from failure


def _disk_full(num_bytes: int, folder: Path) -> Error:
    free = shutil.disk_usage(folder).free
    return Error(
        f"The decoded images need {num_bytes / 1e9:.1f} GB, but {folder.parent} has {free / 1e9:.1f} GB free."
        " Set SAKUGA_CACHE to a folder on a larger disk."
    )
