"""Encoded images out of the shards, by the manifest's offsets alone."""

import hashlib

from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from shards_tools.manifest_file import REBUILD


def read_image(manifest: Manifest, index: int) -> bytes:
    """The encoded image number `index`, checked against its checksum."""
    shard = manifest.shards[manifest.shard[index]].name
    data = manifest.store.read(shard, int(manifest.offset[index]), int(manifest.size[index]))
    if hashlib.sha256(data).hexdigest().encode() != manifest.sha256[index]:
        place = manifest.store.place(shard)
        raise Error(f"{place} is damaged: the checksum of sample {manifest.keys[index]} is wrong. {REBUILD}")
    return data
