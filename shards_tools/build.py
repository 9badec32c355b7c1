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
from shards_tools.manifest import Manifest, Shard, fingerprint, write_manifest
from shards_tools.sources.source import Source, SourceImage
from shards_tools.splits import TRAIN, cut_val
from shards_tools.writer import ShardWriter, blocks_in_shards

PLACE_TYPES = {"shard": "i4", "offset": "i8", "size": "i8", "sha256": "S64", "height": "i4", "width": "i4"}


def build(source: Source, out: Path, *, allow_duplicates: bool = False) -> Manifest:
    """Write the source's images as shards into the new folder `out`; on any error nothing is left there.

    Every image is decoded once, so that a broken one is named now and not in the middle of a search; its bytes stay as
    they are. The same image in two folds, or in train and test, is an Error unless duplicates are allowed.
    """
    manifests: list[Manifest] = []
    build_new(out, lambda room: manifests.append(write_shards(source, room, allow_duplicates=allow_duplicates)))
    return replace(manifests[0], folder=Path(out))


def write_shards(source: Source, folder: Path, *, allow_duplicates: bool = False) -> Manifest:
    """Write shards and manifest of the source into the empty `folder`."""
    works = tuple(sorted({image.work for image in source.images}))
    roles = tuple(sorted({image.role for image in source.images}))
    columns = _labels(source, works, roles)
    shards = _write_images(source.images, columns, folder)
    duplicates = find_duplicates(source.images, columns["sha256"], allow=allow_duplicates)
    manifest = Manifest(
        folder=folder,
        source=source.name,
        layout=source.layout,
        works=works,
        roles=roles,
        shards=tuple(shards),
        keys=np.array([image.key for image in source.images]),
        fingerprint=fingerprint(works, roles, columns),
        duplicates=duplicates,
        **columns,
    )
    write_foreign(shards, folder)
    write_manifest(manifest)
    return manifest


def _labels(source: Source, works: Sequence[str], roles: Sequence[str]) -> dict[str, np.ndarray]:
    """The columns that the source tells, with val cut from train in a plain layout."""
    work_ids = {name: number for number, name in enumerate(works)}
    role_ids = {name: number for number, name in enumerate(roles)}
    columns: dict[str, np.ndarray] = {
        "work": np.array([work_ids[image.work] for image in source.images], dtype=np.int32),
        "role": np.array([role_ids[image.role] for image in source.images], dtype=np.int32),
        "split_code": np.array([image.split_code for image in source.images], dtype=np.int8),
        "fold": np.array([image.fold for image in source.images], dtype=np.int8),
    }
    if source.layout == "plain":
        train = columns["split_code"] == TRAIN
        in_train = [np.unique(columns["role"][train & (columns["work"] == work)]) for work in range(len(works))]
        for role, code in cut_val([roles for roles in in_train if len(roles)]).items():
            columns["split_code"][train & (columns["role"] == role)] = code
    return columns


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
