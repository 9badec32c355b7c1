"""Check a folder of shards for damage, at one of three levels."""

import hashlib
from functools import partial
from pathlib import Path

import numpy as np

from shards_tools.decode import decode
from shards_tools.errors import Error
from shards_tools.manifest import Manifest, Shard
from shards_tools.manifest_file import REBUILD, check_shard_sizes, read_manifest
from shards_tools.parallel import in_order, num_cpus
from shards_tools.progress import Advance, progress
from shards_tools.reader import read_span, spans

LEVELS = ("quick", "full", "deep")
CHUNK_BYTES = 8 * 2**20


def verify(address: str | Path, level: str) -> Manifest:
    """Return the manifest of undamaged shards.

    Args:
        level: `quick` reads the manifest, its columns and the sizes of the shards. `full` also checks every byte of the
            shards. `deep` also reads every image by its offset, checks its checksum, decodes it and checks its height
            and width.

    Raises:
        Error: something is damaged; the message names the first damage in the order of the shards.
    """
    manifest = read_manifest(address)
    verify_shards(manifest, level)
    return manifest


def verify_shards(manifest: Manifest, level: str) -> None:
    """Like `verify`, for a manifest that is already read."""
    check_shard_sizes(manifest)
    if level in ("full", "deep"):
        _verify_bytes(manifest)
    if level == "deep":  # reading, hashing and decoding release the GIL
        with progress("decoding", manifest.num_images) as advance:
            for number in in_order((partial(_verify_images, manifest, span) for span in spans(manifest)), num_cpus()):
                advance(number)


def _verify_bytes(manifest: Manifest) -> None:
    with progress("reading", sum(shard.num_bytes for shard in manifest.shards), "bytes") as advance:
        for shard in manifest.shards:
            _verify_shard(manifest, shard, advance)


def _verify_shard(manifest: Manifest, shard: Shard, advance: Advance) -> None:
    digest = hashlib.sha256()
    for start in range(0, shard.num_bytes, CHUNK_BYTES):
        data = manifest.store.read(shard.name, start, min(CHUNK_BYTES, shard.num_bytes - start))
        digest.update(data)
        advance(len(data))
    if digest.hexdigest() != shard.sha256:
        place = manifest.store.place(shard.name)
        raise Error(f"{place} is damaged: its checksum differs from the manifest. {REBUILD}")


def _verify_images(manifest: Manifest, span: np.ndarray) -> int:
    """Check every image of the span and return how many there are."""
    for index, data in zip(span, read_span(manifest, span), strict=True):
        shard = manifest.store.place(manifest.shards[manifest.shard[index]].name)
        name = f"Sample {manifest.keys[index]} in {shard}"
        height, width = decode(data, name).shape[:2]
        if (height, width) != (manifest.height[index], manifest.width[index]):
            said = f"{manifest.width[index]} x {manifest.height[index]}"
            raise Error(f"{name} has {width} x {height} px, but the manifest says {said}. {REBUILD}")
    return len(span)
