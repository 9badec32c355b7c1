"""Read encoded images from the shards, using only the offsets in the manifest."""

import hashlib
from collections.abc import Sequence

import numpy as np

from shards_tools.errors import Error, Unreadable
from shards_tools.manifest import Manifest
from shards_tools.manifest_file import REBUILD

SPAN_BYTES = 4 * 2**20  # large enough to hide the latency of a request, small enough to hold several in memory


def read_image(manifest: Manifest, index: int) -> bytes:
    """Read the encoded image number `index` and check its checksum.

    Raises:
        Error: the image cannot be read, or its checksum is wrong.
    """
    return _read(manifest, [index], int(manifest.offset[index]), int(manifest.size[index]))[0]


def spans(manifest: Manifest) -> list[np.ndarray]:
    """Return all images in shard order, divided into runs of one shard of about SPAN_BYTES each."""
    order = np.lexsort((manifest.offset, manifest.shard))
    shards, cells = manifest.shard[order], manifest.offset[order] // SPAN_BYTES
    return np.split(order, np.flatnonzero((np.diff(shards) != 0) | (np.diff(cells) != 0)) + 1)


def read_span(manifest: Manifest, span: np.ndarray) -> list[bytes]:
    """Read the encoded images of one of `spans` with a single read of the store, and check each checksum.

    Args:
        span: indices of images of one shard, ordered by offset.

    Raises:
        Error: the images cannot be read, or a checksum is wrong.
    """
    start, end = int(manifest.offset[span[0]]), int(manifest.offset[span[-1]] + manifest.size[span[-1]])
    return _read(manifest, span.tolist(), start, end - start)


def _read(manifest: Manifest, indices: Sequence[int], start: int, size: int) -> list[bytes]:
    """Return images that are all in one range of a shard; a damaged copy of the shard is fetched again."""
    store, shard = manifest.store, manifest.shards[manifest.shard[indices[0]]].name
    try:
        return _checked(manifest, indices, start, store.read(shard, start, size))
    except Error:
        if not store.renew(shard):
            raise
    return _checked(manifest, indices, start, store.read(shard, start, size))


def _checked(manifest: Manifest, indices: Sequence[int], start: int, data: bytes) -> list[bytes]:
    """Return the images, of which `data` holds the bytes from `start` on, after comparing their checksums."""
    images = []
    for index in indices:
        first = int(manifest.offset[index]) - start
        image = data[first : first + int(manifest.size[index])]
        if hashlib.sha256(image).hexdigest().encode() != manifest.sha256[index]:
            place = manifest.store.place(manifest.shards[manifest.shard[index]].name)
            raise Unreadable(f"{place} is damaged: the checksum of sample {manifest.keys[index]} is wrong. {REBUILD}")
        images.append(image)
    return images
