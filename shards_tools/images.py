"""Readers of a manifest's images: decoded once and memory-mapped, read by offset, or streamed from a store.

Shapes: n images, B batch size, H and W pixels, C channels.
"""

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
import psutil

from shards_tools.cache import cache_folder, decoded, is_decoded
from shards_tools.conversion import AS_STORED, Conversion
from shards_tools.decode import decode, decode_fitted
from shards_tools.errors import unknown
from shards_tools.keys import Keys
from shards_tools.manifest import Manifest
from shards_tools.parallel import ThreadTeam
from shards_tools.quota import quota_bytes
from shards_tools.reader import read_image
from shards_tools.stores.shard_cache import cached, copy_fits
from shards_tools.streaming.images import StreamedImages

READINGS = ("auto", "decoded", "offset", "stream")
MEMORY_FRACTION = 0.5  # of the available memory; the rest is for the trials and their activations


@runtime_checkable
class Images(Protocol):
    """All images of a manifest at one size, uint8 RGB."""

    reading: str  # "decoded", "offset" or "stream", as recorded for the trial

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """Return any images, such as those of an evaluation: [n] -> [n, H, W, C]."""

    def batches(self, indices: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the images [B, H, W, C] of each row of `indices` [num_batches, B] into the manifest."""


class DecodedImages:
    """Images from the memory map that all processes of a machine share."""

    reading = "decoded"

    def __init__(self, manifest: Manifest, height: int, width: int, *, fit: str = "stretch") -> None:
        self._pixels = np.asarray(decoded(manifest, height, width, fit=fit))

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        images_BHWC: np.ndarray = self._pixels[indices]
        return images_BHWC

    @property
    def shape(self) -> tuple[int, ...]:
        """H, W, C of each image."""
        return self._pixels.shape[1:]

    def gather(self, indices: np.ndarray, images_BHWC: np.ndarray) -> None:
        """Copy the images into given memory, without holding the GIL.

        Args:
            indices: [B].
            images_BHWC: uint8, C-contiguous.

        Raises:
            IndexError: there is no image with one of these indices.
        """
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(self._pixels):
            raise IndexError(f"indices {indices.min()} to {indices.max()} of {len(self._pixels)} images")
        # The mode "raise" would copy every image twice, to leave the memory as it was if an index is wrong.
        np.take(self._pixels, indices, axis=0, out=images_BHWC, mode="clip")

    def views(self, indices: np.ndarray) -> Sequence[np.ndarray]:
        """Return read-only views of the images, [H, W, C] each, for callers that copy parts of them anyway."""
        return [self._pixels[index] for index in indices]

    def batches(self, indices: np.ndarray) -> Iterator[np.ndarray]:
        return (self[row] for row in indices)


class NativeImages:
    """Images in their original sizes, read and decoded on every access.

    Args:
        names: of the images, for the Error about a damaged one.
        read: returns the encoded bytes of an image by its position.
    """

    reading = "offset"

    def __init__(self, names: Sequence[str] | Keys, read: Callable[[int], bytes], *, threads: int = 1) -> None:
        self._names, self._bytes_of = names, read
        self._team = ThreadTeam(threads)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray | Sequence[np.ndarray]:
        """Return the images, [H, W, C] each."""
        return self._team.map(lambda index: decode(self._bytes_of(index), self._names[index]), indices.tolist())


class OffsetImages(NativeImages):
    """The same images at one size; the same pixels as DecodedImages."""

    def __init__(
        self,
        names: Sequence[str] | Keys,
        read: Callable[[int], bytes],
        height: int,
        width: int,
        *,
        fit: str = "stretch",
        threads: int = 1,
        conversion: Conversion = AS_STORED,
    ) -> None:
        super().__init__(names, read, threads=threads)
        self.shape = (height, width, 3)  # of each image
        self._fit, self._conversion = fit, conversion

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        images_BHWC = np.empty((len(indices), *self.shape), np.uint8)
        self.gather(indices, images_BHWC)
        return images_BHWC

    def gather(self, indices: np.ndarray, images_BHWC: np.ndarray) -> None:
        """Read and decode the images into given memory, without holding the GIL for most of the time.

        Args:
            indices: [B].
            images_BHWC: uint8, C-contiguous.
        """
        self._team.map(lambda place: self._read(int(indices[place]), images_BHWC[place]), range(len(indices)))

    def batches(self, indices: np.ndarray) -> Iterator[np.ndarray]:
        return (self[row] for row in indices)

    def _read(self, index: int, image_HWC: np.ndarray) -> None:
        decode_fitted(self._bytes_of(index), self._names[index], self._fit, image_HWC, self._conversion)


def open_images(
    manifest: Manifest, height: int, width: int, reading: str = "auto", *, fit: str = "stretch", threads: int = 1
) -> Images:
    """Open the images at one size, antialiased; every reading gives the same pixels.

    `auto` chooses `decoded` if the decoded images fit into half of the available memory and into the cache. Otherwise
    it chooses `offset`, which copies remote shards to the cache, or `stream` if the copy does not fit.

    Args:
        reading: one of READINGS.
        fit: a key of FITS in fits.py: how images of other shapes are resized.
        threads: number of decoding threads of `offset` and `stream`.

    Raises:
        Error: the reading is unknown, or the images cannot be read.
    """
    if reading == "auto":
        reading = auto_reading(manifest, height, width, fit)
    if reading == "decoded":
        return DecodedImages(manifest, height, width, fit=fit)
    if reading == "offset":
        shards = cached(manifest)
        return OffsetImages(shards.keys, partial(read_image, shards), height, width, fit=fit, threads=threads)
    if reading == "stream":
        return StreamedImages(manifest, height, width, fit=fit, threads=threads)
    raise unknown("reading", reading, READINGS)


def native_images(manifest: Manifest, *, threads: int = 1) -> NativeImages:
    """Open the images in their original sizes; remote shards are copied to the cache."""
    shards = cached(manifest)
    return NativeImages(shards.keys, partial(read_image, shards), threads=threads)


def one_shape(manifest: Manifest) -> tuple[int, int] | None:
    """Return height and width in px if all images have the same size, else None."""
    if not manifest.num_images or np.ptp(manifest.height) or np.ptp(manifest.width):
        return None
    return int(manifest.height[0]), int(manifest.width[0])


def auto_reading(manifest: Manifest, height: int, width: int, fit: str = "stretch") -> str:
    """Return the reading that `auto` chooses on this machine now.

    Args:
        manifest: the images to read.
        height: in px, as the images are resized to; `width` likewise.
        fit: a key of FITS in fits.py.

    Returns:
        "decoded", "offset" or "stream".
    """
    if decoded_fits(manifest, height, width, fit):
        return "decoded"
    return "offset" if manifest.store.is_local or copy_fits(manifest) else "stream"


def decoded_fits(manifest: Manifest, height: int, width: int, fit: str) -> bool:
    """Return whether the decoded images fit into half of the available memory and into the cache.

    Args:
        manifest: all of its images count.
        height: of the decoded images in px; `width` likewise.
        fit: a key of FITS in fits.py; pixels that are in the cache already need no space there.
    """
    num_bytes = math.prod((manifest.num_images, height, width, 3))
    if num_bytes > MEMORY_FRACTION * psutil.virtual_memory().available:
        return False
    if is_decoded(manifest, height, width, fit):
        return True
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return num_bytes <= min(quota_bytes(folder), shutil.disk_usage(folder).free)
