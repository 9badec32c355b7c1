"""Build a folder of shards and its manifest from a scanned source."""

import logging
import math
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from shards_tools.assignment import BOX_BYTES_PER_PX, BOX_NOTE, make_shard
from shards_tools.decode import MAX_PIXELS
from shards_tools.duplicates import find_duplicates
from shards_tools.errors import Error
from shards_tools.folders import build_locked
from shards_tools.labels import collect_tags, label_columns, note_splits, roles_of
from shards_tools.manifest import Manifest, Shard, fingerprint
from shards_tools.manifest_file import write_manifest
from shards_tools.parallel import in_processes, num_cpus
from shards_tools.progress import progress
from shards_tools.sources.source import Source, SourceImage
from shards_tools.stores.local import LocalStore
from shards_tools.writer import blocks_in_shards, write_indexes

log = logging.getLogger(__name__)

PLACE_TYPES = {"offset": "i8", "size": "i8", "sha256": "S64", "height": "i4", "width": "i4"}
IMAGES_PER_PROCESS = 2_000  # starting a process takes 0.2 s; in that time a running one writes half as many
LEFT_OVER = re.compile(r"shard-(\d{5,})\.(tar|json)")


def build(source: Source, out: Path, *, allow_duplicates: bool = False) -> Manifest:
    """Write the source's images as shards into the new folder `out`.

    Every image is decoded once, so that a broken one is reported now and not in the middle of a search. Its bytes are
    stored unchanged unless it has a box. After an Error nothing is left in `out`. A build that was killed or
    interrupted resumes when it is started again.

    Args:
        allow_duplicates: accept the same image in two folds, or in train and test; otherwise it is an Error.
    """
    manifests: list[Manifest] = []

    def fill(room: Path, lock: int) -> None:
        manifests.append(write_shards(source, room, allow_duplicates=allow_duplicates, held=(lock,)))

    build_locked(out, fill, resumed=True)
    return replace(manifests[0], store=LocalStore(Path(out)))


def write_shards(
    source: Source,
    folder: Path,
    *,
    allow_duplicates: bool = False,
    held: Sequence[int] = (),
) -> Manifest:
    """Write the shards and the manifest of the source into `folder`.

    Args:
        folder: an empty folder, or one that an interrupted call left.
        held: file descriptors that the worker processes keep open, such as the folder's lock.
    """
    roles = roles_of(source)
    columns = label_columns(source, roles)
    shards = _write_images(source.images, columns, folder, held)
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
        notes=(
            *source.notes,
            *note_splits(source, columns["split_code"]),
            *([BOX_NOTE] if any(image.box for image in source.images) else []),
        ),
        tags=tags,
        pairs=pairs,
        test_fold=None,  # a search may set one
        **columns,
    )
    write_indexes(shards, folder)
    write_manifest(manifest, folder)
    for shard in shards:
        (folder / shard.name).with_suffix(".json").unlink()
    return manifest


def _write_images(
    images: Sequence[SourceImage], columns: dict[str, np.ndarray], folder: Path, held: Sequence[int]
) -> list[Shard]:
    """Write every image into its shard and add the columns of its position, checksum and size.

    The shard of each image is decided before the first byte is written, so it does not depend on the number of
    processes.
    """
    sizes, times = _stat(images)
    group = columns["role"].astype(np.int64) * 256 + columns["split_code"]
    members = list(blocks_in_shards(group, _expected_bytes(images, sizes)))
    _clear_strangers(folder, len(members))
    columns["shard"] = np.empty(len(images), dtype=np.int32)
    columns.update({name: np.empty(len(images), dtype=kind) for name, kind in PLACE_TYPES.items()})
    shards: dict[int, Shard] = {}
    num_processes = max(1, min(num_cpus(), len(members), len(images) // IMAGES_PER_PROCESS))
    jobs = _jobs(images, columns["work"], sizes, times, members, folder)
    num_taken_over = 0
    with (
        progress("building", len(images)) as advance,
        closing(in_processes(make_shard, jobs, num_processes, held)) as done,
    ):
        for number, made in done:
            shards[number] = Shard(**made["shard"])
            columns["shard"][members[number]] = number
            for name, values in zip(PLACE_TYPES, zip(*made["places"], strict=True), strict=True):
                columns[name][members[number]] = values
            num_taken_over += made["taken_over"]
            advance(len(members[number]))
    if num_taken_over:
        log.info("reused %s of %s shards from an interrupted build", f"{num_taken_over:,}", f"{len(members):,}")
    return [shards[number] for number in range(len(members))]


def _stat(images: Sequence[SourceImage]) -> tuple[np.ndarray, np.ndarray]:
    """Return the size of every file in bytes, and the time of its last change in ns."""
    sizes, times = np.empty((2, len(images)), dtype=np.int64)
    for index, image in enumerate(images):
        try:
            found = os.stat(image.path)
        except OSError as failure:
            raise Error(f"{image.path} cannot be read: {failure.strerror}. Make it readable or remove it.") from None
        sizes[index], times[index] = found.st_size, found.st_mtime_ns
    return sizes, times


def _expected_bytes(images: Sequence[SourceImage], sizes: np.ndarray) -> np.ndarray:
    """Return the bytes of each image in its shard: the file's size, or an estimate from the area of its box."""
    sizes = sizes.copy()
    for index, image in enumerate(images):
        if image.box is not None:
            left, top, right, bottom = image.box
            area = min(max(1, (right - left) * (bottom - top)), MAX_PIXELS)
            sizes[index] = math.ceil(area * BOX_BYTES_PER_PX)
    return sizes


def _jobs(
    images: Sequence[SourceImage],
    work: np.ndarray,
    sizes: np.ndarray,
    times: np.ndarray,
    members: Sequence[np.ndarray],
    folder: Path,
) -> Iterator[dict[str, Any]]:
    """Yield the jobs of `make_shard` lazily: all of them together would be larger than the manifest."""
    for number, indices in enumerate(members):
        labels, num_bytes, changed = (column[indices].tolist() for column in (work, sizes, times))
        rows = [
            (os.path.abspath(images[index].path), images[index].key, *known, images[index].box)
            for index, *known in zip(indices.tolist(), labels, num_bytes, changed, strict=True)
        ]
        yield {"path": str(folder / f"shard-{number:05d}.tar"), "rows": rows}


def _clear_strangers(folder: Path, num_shards: int) -> None:
    """Remove every entry that an interrupted call cannot have left as one of these shards."""
    for entry in folder.iterdir():
        named = LEFT_OVER.fullmatch(entry.name)
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif named is None or int(named[1]) >= num_shards or entry.is_symlink():
            entry.unlink()
