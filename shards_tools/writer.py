"""Write ustar shards: `KEY.jpg` or `KEY.png` with the encoded image, then `KEY.cls` with the work id as text.

Every field that could differ between two runs is fixed, so equal images give equal bytes. webdataset reads the shards;
index files next to them let timm and open_clip read them too.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from shards_tools.folders import write_durably
from shards_tools.manifest import Shard

TAR_BLOCK = 512  # bytes; tar members and the end mark are padded to a multiple of it
MAX_SHARD_BYTES = 64 * 2**20  # shards are between half of this and this, except in small sets
IMAGES_PER_BLOCK = 16  # of one role, kept together so that a stream reads positives close together
MAX_KEY_LENGTH = 100 - len(".jpg")  # the name field of a ustar header
INDEX_SPLIT = "all"  # a shard holds images of every split, so timm's split is not called train


class ShardWriter:
    """Context manager that writes one shard; `finish` ends it, flushes it to disk and returns its Shard."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open(path, "xb")  # noqa: SIM115  closed by `__exit__`
        self._digest = hashlib.sha256()
        self._num_samples = 0

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, key: str, suffix: str, image: bytes, work: int) -> int:
        """Append one sample.

        Args:
            key: unique in the shard; ASCII without dots, at most MAX_KEY_LENGTH characters.
            suffix: `jpg` or `png`.
            image: the encoded image.
            work: the work id, which becomes the text of `KEY.cls`.

        Returns:
            The offset of the image's first byte in the shard.
        """
        self._write(_header(f"{key}.{suffix}", len(image)))
        offset = self._file.tell()
        self._write_padded(image)
        label = str(work).encode()
        self._write(_header(f"{key}.cls", len(label)))
        self._write_padded(label)
        self._num_samples += 1
        return offset

    def finish(self) -> Shard:
        """End the archive, flush it to disk and return its Shard."""
        self._write(bytes(2 * TAR_BLOCK))
        num_bytes = self._file.tell()
        self._file.flush()
        os.fsync(self._file.fileno())
        return Shard(self._path.name, self._num_samples, num_bytes, self._digest.hexdigest())

    def _write_padded(self, data: bytes) -> None:
        self._write(data)
        self._write(bytes(-len(data) % TAR_BLOCK))

    def _write(self, data: bytes) -> None:
        self._digest.update(data)
        self._file.write(data)


def _header(name: str, size: int) -> bytes:
    """Return the ustar header (POSIX.1-1988) of a regular file: mode 0644, owner 0, time 0."""
    fields = (
        name.encode("ascii").ljust(100, b"\0"),
        b"0000644\0",  # mode
        b"0000000\0" * 2,  # user and group
        f"{size:011o}\0".encode(),
        b"00000000000\0",  # time
        b" " * 8,  # the checksum is computed with spaces in its place
        b"0".ljust(101, b"\0"),  # a regular file without a link
        b"ustar\x0000",
    )
    header = b"".join(fields).ljust(TAR_BLOCK, b"\0")
    return header[:148] + f"{sum(header):06o}\0 ".encode() + header[156:]


def blocks_in_shards(group: np.ndarray, size: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the image indices of each shard: shuffled blocks of at most 16 images of one group, in equal shards.

    Args:
        group: equal for images that may share a block.
        size: of each image, in bytes.
    """
    _, first_of_group, group_of_image = np.unique(group, return_index=True, return_inverse=True)
    by_group = np.argsort(first_of_group[group_of_image], kind="stable")
    starts = np.flatnonzero(np.diff(group[by_group], prepend=group[by_group[0]] - 1))
    blocks = [
        run[first : first + IMAGES_PER_BLOCK]
        for run in np.split(by_group, starts[1:])
        for first in range(0, len(run), IMAGES_PER_BLOCK)
    ]
    order = np.random.default_rng(0).permutation(len(blocks))
    in_tar = np.array([_bytes_in_tar(size[blocks[place]]) for place in order])
    num_shards = max(1, math.ceil(in_tar.sum() / MAX_SHARD_BYTES))
    shard_of_block = (np.cumsum(in_tar) - in_tar) * num_shards // in_tar.sum()
    for shard in np.unique(shard_of_block):
        yield np.concatenate([blocks[place] for place in order[shard_of_block == shard]])


def _bytes_in_tar(image_sizes: np.ndarray) -> int:
    padded = -(-image_sizes // TAR_BLOCK) * TAR_BLOCK
    return int(padded.sum()) + len(image_sizes) * 3 * TAR_BLOCK  # two headers and the label


def write_indexes(shards: Sequence[Shard], folder: Path) -> None:
    """Write timm's `_info.json` and open_clip's `sizes.json` next to the shards; equal shards give equal bytes.

    timm 1.0.31 (`timm/data/readers/reader_wds.py`) reads the shards with --dataset wds/ --train-split all; open_clip
    looks up the number of samples by the name of a shard.
    """
    sizes = {shard.name: shard.num_samples for shard in shards}
    split = {
        "name": INDEX_SPLIT,
        "num_samples": sum(sizes.values()),
        "filenames": list(sizes),
        "shard_lengths": list(sizes.values()),
    }
    for name, content in (("_info.json", {"splits": {INDEX_SPLIT: split}}), ("sizes.json", sizes)):
        write_durably(folder / name, (json.dumps(content, indent=1) + "\n").encode())
