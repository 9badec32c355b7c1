"""The manifest on disk: written last, and checked when it is read, as far as that is possible without the shards.

`manifest.json` holds the names and the list of shards, `manifest.npz` one column per field of an image. A folder
without a manifest is not a dataset.
"""

import json
import textwrap
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from shards_tools.columns import Columns, write_columns
from shards_tools.command import command_line
from shards_tools.conversion import AS_STORED, Conversion
from shards_tools.errors import MAX_REASON, Error, Unreadable
from shards_tools.folders import durable_file, write_durably
from shards_tools.keys import Keys
from shards_tools.manifest import COLUMN_TYPES, SCHEMA, Duplicates, Manifest, Shard, Tags
from shards_tools.manifest_checks import contradictions
from shards_tools.plain_text import visible
from shards_tools.records import record
from shards_tools.stores import open_store
from shards_tools.stores.store import Store

JSON_NAME = "manifest.json"
COLUMNS_NAME = "manifest.npz"
TAG_COLUMNS = ("tag_names", "tag_starts", "tag_ids")  # all of them, or none
MAX_HEAD_BYTES = 2**27  # of manifest.json: names of works and roles; parsed, it takes up to twenty times as much
REBUILD = "Build the shards again: python -m shards_tools build KIND SOURCE --out SHARDS."


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write both files to `folder`, the columns first; equal manifests give equal bytes.

    Raises:
        Error: the names of works and roles are too long to be read back.
    """
    columns = {"keys": manifest.keys.stored}
    columns |= {name: np.asarray(getattr(manifest, name), dtype=kind) for name, kind in COLUMN_TYPES.items()}
    if len(manifest.pairs):
        columns["pairs"] = manifest.pairs
    if manifest.tags is not None:
        names = np.char.encode(np.array(manifest.tags.names), "utf-8")
        columns |= dict(zip(TAG_COLUMNS, (names, manifest.tags.starts, manifest.tags.ids), strict=True))
    with durable_file(folder / COLUMNS_NAME) as file:
        head = _head_of(manifest, write_columns(file, columns))
        if len(head) > MAX_HEAD_BYTES:
            raise Error(
                f"{folder / JSON_NAME} would have {len(head):,} bytes, but at most {MAX_HEAD_BYTES:,} are read."
                " Use shorter names of works and roles, or divide the images into several sets."
            )
    write_durably(folder / JSON_NAME, head)


def read_manifest(address: str | Path) -> Manifest:
    """Read and check the manifest of a folder of shards; for local shards also check their sizes.

    Raises:
        Error: there is no manifest, it is damaged, or a local shard is missing or has another size.
    """
    store = open_store(address)
    entries = _read_head(store)
    try:
        manifest = _assemble(store, entries)
    except Error:
        raise
    except Exception as failure:  # a damaged file can raise nearly anything
        wrong = str(failure) if isinstance(failure, ValueError) else type(failure).__name__
        reason = textwrap.shorten(" ".join(visible(wrong).split()), MAX_REASON)
        raise Unreadable(
            f"{store.place(JSON_NAME)} is damaged: its parts contradict each other ({reason}). {REBUILD}"
        ) from None
    if store.is_local:
        check_shard_sizes(manifest)
    return manifest


def check_shard_sizes(manifest: Manifest) -> None:
    """Compare the sizes of all shards with the manifest.

    Raises:
        Error: a shard is missing or has another size.
    """
    for shard in manifest.shards:
        found, place = manifest.store.size(shard.name), manifest.store.place(shard.name)
        if found is None:
            raise Unreadable(f"{place} is missing. {REBUILD}")
        if found != shard.num_bytes:
            sizes = f"{found:,} bytes, but the manifest says {shard.num_bytes:,}"
            raise Unreadable(f"{place} is damaged: it holds {sizes}. {REBUILD}")


def _head_of(manifest: Manifest, sha256: str) -> bytes:
    head = {
        "schema": SCHEMA,
        "source": manifest.source,
        "layout": manifest.layout,
        "fingerprint": manifest.fingerprint,
        "num_images": manifest.num_images,
        "duplicates": asdict(manifest.duplicates),
        "notes": manifest.notes,
        "conversion": asdict(manifest.conversion),
        "columns": {"name": COLUMNS_NAME, "sha256": sha256},
        "shards": [asdict(shard) for shard in manifest.shards],
        "works": manifest.works,
        "roles": manifest.roles,
    }
    return (json.dumps(head, indent=1) + "\n").encode()


def _read_head(store: Store) -> dict[str, Any]:
    size, place = store.size(JSON_NAME), store.place(JSON_NAME)
    if size is None:
        what = "has no manifest.json, so it holds no finished shards" if store.exists() else "is not a folder"
        if store.is_local and store.exists():
            raise Unreadable(
                f"{store} {what}. If it holds images, build shards of them:"
                f" {command_line('shards_tools', 'build', 'KIND', store, '--out', 'SHARDS')}"
            )
        command = command_line(
            "shards_tools", "build", "KIND", "SOURCE", "--out", store if store.is_local else "SHARDS"
        )
        raise Unreadable(f"{store} {what}. Build shards{'' if store.is_local else ', and copy them there'}: {command}")
    if size > MAX_HEAD_BYTES:
        raise Unreadable(f"{place} is too large for a manifest: {size:,} bytes. {REBUILD}")
    try:
        head = json.loads(store.read(JSON_NAME, 0, size))
    except (ValueError, RecursionError):
        raise Unreadable(f"{place} is damaged: it is not JSON. {REBUILD}") from None
    if not isinstance(head, dict) or head.get("schema") != SCHEMA:
        found = head.get("schema") if isinstance(head, dict) else None
        raise Unreadable(f"{place} has schema {found!r:.40}, but this version reads schema {SCHEMA}. {REBUILD}")
    return head


@dataclass(frozen=True)
class _Head:
    """The entries of `manifest.json`; those with a default are absent from older manifests."""

    source: str
    layout: str
    fingerprint: str
    num_images: int
    columns: dict[str, str]
    shards: tuple[Shard, ...]
    works: tuple[str, ...]
    roles: tuple[str, ...]
    notes: tuple[str, ...] = ()
    duplicates: Duplicates = field(default_factory=Duplicates)
    conversion: Conversion = AS_STORED


def _assemble(store: Store, entries: dict[str, Any]) -> Manifest:
    """Return the manifest after checking its columns while another thread computes the checksum of their file."""
    head = record(_Head, {known.name: entries[known.name] for known in fields(_Head) if known.name in entries})
    expected, place, size = head.columns["sha256"], store.place(COLUMNS_NAME), store.size(COLUMNS_NAME)
    if size is None:
        raise Unreadable(f"{place} is missing. {REBUILD}")
    with Columns(store, COLUMNS_NAME, size) as columns, ThreadPoolExecutor(1) as pool:
        sha256 = pool.submit(columns.sha256)
        try:
            manifest = _from_parts(store, head, columns)
            if wrong := next(contradictions(manifest, columns.release), None):
                raise ValueError(wrong)
        finally:
            if sha256.result() != expected:  # the cause of whatever else is wrong
                raise Unreadable(f"{place} is damaged: its checksum differs from {JSON_NAME}. {REBUILD}") from None
    return manifest


def _from_parts(store: Store, head: _Head, file: Columns) -> Manifest:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a header of another Python version counts as damage
        columns: dict[str, Any] = file.read(("keys", *COLUMN_TYPES), ("pairs", *TAG_COLUMNS))
    tags = [columns.pop(name) for name in TAG_COLUMNS if name in columns]
    if tags:
        names, starts, ids = tags
        columns["tags"] = Tags(tuple(np.char.decode(names, "utf-8").tolist()), starts, ids)
    manifest = Manifest(
        store=store,
        shards=head.shards,
        works=head.works,
        roles=head.roles,
        source=head.source,
        layout=head.layout,
        fingerprint=head.fingerprint,
        duplicates=head.duplicates,
        notes=head.notes,
        conversion=head.conversion,
        keys=Keys(columns.pop("keys")),
        **columns,
    )
    if manifest.num_images != head.num_images:
        raise ValueError(f"num_images={head.num_images}, but the columns hold {manifest.num_images}")
    return manifest
