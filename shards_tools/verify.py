"""Whether a folder of shards is still what was built, in three depths."""

import hashlib
from pathlib import Path

from shards_tools.decode import decode
from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from shards_tools.manifest_file import REBUILD, check_shard_sizes, read_manifest
from shards_tools.reader import read_image

LEVELS = ("quick", "full", "deep")
CHUNK_BYTES = 8 * 2**20


def verify(address: str | Path, level: str) -> Manifest:
    """The manifest of undamaged shards; an Error that names the first damage otherwise.

    `quick` reads the manifest, its columns and the sizes of the shards; `full` also every byte of the shards; `deep`
    also takes every image by its offset, compares its checksum, decodes it and compares its height and width.
    """
    manifest = read_manifest(address)
    check_shard_sizes(manifest)
    if level in ("full", "deep"):
        _verify_shards(manifest)
    if level == "deep":
        for index in range(manifest.num_images):
            _verify_image(manifest, index)
    return manifest


def _verify_shards(manifest: Manifest) -> None:
    for shard in manifest.shards:
        digest = hashlib.sha256()
        for start in range(0, shard.num_bytes, CHUNK_BYTES):
            digest.update(manifest.store.read(shard.name, start, min(CHUNK_BYTES, shard.num_bytes - start)))
        if digest.hexdigest() != shard.sha256:
            place = manifest.store.place(shard.name)
            raise Error(f"{place} is damaged: its checksum is not its manifest's. {REBUILD}")


def _verify_image(manifest: Manifest, index: int) -> None:
    shard = manifest.store.place(manifest.shards[manifest.shard[index]].name)
    name = f"Sample {manifest.keys[index]} in {shard}"
    height, width = decode(read_image(manifest, index), name).shape[:2]
    if (height, width) != (manifest.height[index], manifest.width[index]):
        said = f"{manifest.width[index]} x {manifest.height[index]}"
        raise Error(f"{name} has {width} x {height} px, its manifest says {said}. {REBUILD}")
