"""Encoded images out of the shards, by the manifest's offsets alone."""

import hashlib

from shards_tools.errors import Error
from shards_tools.manifest import REBUILD, Manifest


def read_image(manifest: Manifest, index: int) -> bytes:
    """The encoded image number `index`, checked against its checksum."""
    path = manifest.folder / manifest.shards[manifest.shard[index]].name
    with open(path, "rb", buffering=0) as file:
        file.seek(int(manifest.offset[index]))
        data = file.read(int(manifest.size[index]))
    if hashlib.sha256(data).hexdigest().encode() != manifest.sha256[index]:
        raise Error(f"{path} is damaged: the checksum of sample {manifest.keys[index]} is wrong. {REBUILD}")
    return data
