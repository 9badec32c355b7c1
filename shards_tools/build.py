"""From a scanned source to a folder of shards with its manifest."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from shards_tools.decode import decode, image_suffix
from shards_tools.duplicates import find_duplicates
from shards_tools.folders import build_new
from shards_tools.foreign import write_foreign
from shards_tools.labels import label_columns, roles_of
from shards_tools.manifest import Manifest, Shard, fingerprint
from shards_tools.manifest_file import write_manifest
from shards_tools.sources.source import Source, SourceImage
from shards_tools.stores.local import LocalStore
from shards_tools.tags import collect_tags
from shards_tools.writer import ShardWriter, blocks_in_shards

PLACE_TYPES = {"shard": "i4", "offset": "i8", "size": "i8", "sha256": "S64", "height": "i4", "width": "i4"}


def build(source: Source, out: Path, *, allow_duplicates: bool = False) -> Manifest:
    """Write the source's images as shards into the new folder `out`; on any error nothing is left there.

    Every image is decoded once, so that a broken one is named now and not in the middle of a search; its bytes stay as
    they are. The same image in two folds, or in train and test, is an Error unless duplicates are allowed.
    """
    manifests: list[Manifest] = []
    build_new(out, lambda room: manifests.append(write_shards(source, room, allow_duplicates=allow_duplicates)))
    return replace(manifests[0], store=LocalStore(Path(out)))


def write_shards(source: Source, folder: Path, *, allow_duplicates: bool = False) -> Manifest:
    """Write shards and manifest of the source into the empty `folder`."""
    roles = roles_of(source)
    columns = label_columns(source, roles)
    shards = _write_images(source.images, columns, folder)
    duplicates = find_duplicates(source.images, columns["sha256"], allow=allow_duplicates)
    tags = collect_tags([image.tags for image in source.images])
    pairs = np.array(source.pairs, dtype=np.int64).reshape(-1, 2)
    manifest = Manifest(
        store=LocalStore(folder),
        source=source.name,
        layout=source.layout,
        works=source.works,
        roles=roles,
        shards=tuple(shards),
        keys=np.array([image.key for image in source.images]),
        fingerprint=fingerprint(source.works, roles, columns, tags, pairs),
        duplicates=duplicates,
        notes=source.notes,
        tags=tags,
        pairs=pairs,
        **columns,
    )
    write_foreign(shards, folder)
    write_manifest(manifest, folder)
    return manifest


def _write_images(images: Sequence[SourceImage], columns: dict[str, np.ndarray], folder: Path) -> list[Shard]:
    """Write every image into its shard and add the columns that say where it went and what it is."""
    places = {name: np.empty(len(images), dtype=kind) for name, kind in PLACE_TYPES.items()}
    sizes = np.array([image.path.stat().st_size for image in images], dtype=np.int64)
    group = columns["role"].astype(np.int64) * 256 + columns["split_code"]
    shards = []
    for number, members in enumerate(blocks_in_shards(group, sizes)):
        with ShardWriter(folder / f"shard-{number:05d}.tar") as writer:
            for index in members.tolist():
                image = images[index]
                data = image.path.read_bytes()
                height, width = decode(data, str(image.path)).shape[:2]
                suffix = image_suffix(data, str(image.path))
                offset = writer.add(image.key, suffix, data, int(columns["work"][index]))
                row = (number, offset, len(data), hashlib.sha256(data).hexdigest(), height, width)
                for name, value in zip(places, row, strict=True):
                    places[name][index] = value
            shards.append(writer.finish())
    columns.update(places)
    return shards
