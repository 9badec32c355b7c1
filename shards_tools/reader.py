"""Read encoded images from the shards, using only the offsets in the manifest."""

import hashlib

import numpy as np

from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from shards_tools.manifest_file import REBUILD

SPAN_BYTES = 4 * 2**20  # large enough to hide the latency of a request, small enough to hold several in memory


def read_image(manifest: Manifest, index: int) -> bytes:
    """Read the encoded image number `index` and check its checksum.

    Raises:
        Error: the image cannot be read, or its checksum is wrong.
    """
    shard = manifest.shards[manifest.shard[index]].name
    data = manifest.store.read(shard, int(manifest.offset[index]), int(manifest.size[index]))
    _check(manifest, index, data)
    return data


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
    shard = manifest.shards[manifest.shard[span[0]]].name
    offsets, sizes = manifest.offset[span], manifest.size[span]
    start, end = int(offsets[0]), int(offsets[-1] + sizes[-1])
    data = manifest.store.read(shard, start, end - start)
    images = [data[first : first + size] for first, size in zip(offsets - start, sizes, strict=True)]
    for index, image in zip(span, images, strict=True):
        _check(manifest, index, image)
    return images


def _check(manifest: Manifest, index: int, data: bytes) -> None:
    if hashlib.sha256(data).hexdigest().encode() != manifest.sha256[index]:
        place = manifest.store.place(manifest.shards[manifest.shard[index]].name)
        raise Error(f"{place} is damaged: the checksum of sample {manifest.keys[index]} is wrong. {REBUILD}")
