"""The manifest on disk: written last, and checked when it is read, as far as that is possible without the shards.

`manifest.json` holds the names and the list of shards, `manifest.npz` one column per field of an image. A folder
without a manifest is not a dataset.
"""

import hashlib
import io
import json
import textwrap
import warnings
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from shards_tools.command import command_line
from shards_tools.conversion import AS_STORED, Conversion
from shards_tools.errors import MAX_REASON, Error
from shards_tools.folders import write_durably
from shards_tools.manifest import COLUMN_TYPES, SCHEMA, Duplicates, Manifest, Shard, Tags
from shards_tools.manifest_checks import KEYS, contradictions
from shards_tools.plain_text import visible
from shards_tools.records import record
from shards_tools.stores import open_store
from shards_tools.stores.store import Store

JSON_NAME = "manifest.json"
COLUMNS_NAME = "manifest.npz"
MAX_HEAD_BYTES = 2**27  # of manifest.json: names of works and roles; parsed, it takes up to twenty times as much
MAX_COLUMNS_BYTES = 2**30  # of manifest.npz; DAF:re needs 60 MB
REBUILD = "Build the shards again: python -m shards_tools build KIND SOURCE --out SHARDS."


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write both files to `folder`, the columns first; equal manifests give equal bytes."""
    columns = {name: np.asarray(getattr(manifest, name), dtype=kind) for name, kind in COLUMN_TYPES.items()}
    columns["keys"] = np.char.encode(manifest.keys, "ascii")
    if len(manifest.pairs):
        columns["pairs"] = manifest.pairs
    if manifest.tags is not None:
        names = np.char.encode(np.array(manifest.tags.names), "utf-8")
        columns |= {"tag_names": names, "tag_starts": manifest.tags.starts, "tag_ids": manifest.tags.ids}
    file = io.BytesIO()
    np.savez(file, **columns)  # type: ignore[arg-type]  # any name is a column
    write_durably(folder / COLUMNS_NAME, file.getvalue())
    head = {
        "schema": SCHEMA,
        "source": manifest.source,
        "layout": manifest.layout,
        "fingerprint": manifest.fingerprint,
        "num_images": manifest.num_images,
        "duplicates": asdict(manifest.duplicates),
        "notes": manifest.notes,
        "conversion": asdict(manifest.conversion),
        "columns": {"name": COLUMNS_NAME, "sha256": hashlib.sha256(file.getvalue()).hexdigest()},
        "shards": [asdict(shard) for shard in manifest.shards],
        "works": manifest.works,
        "roles": manifest.roles,
    }
    write_durably(folder / JSON_NAME, (json.dumps(head, indent=1) + "\n").encode())


def read_manifest(address: str | Path) -> Manifest:
    """Read and check the manifest of a folder of shards; for local shards also check their sizes.

    Raises:
        Error: there is no manifest, it is damaged, or a local shard is missing or has another size.
    """
    store = open_store(address)
    head = _read_head(store)
    try:
        manifest = _assemble(store, head)
        wrong = next(contradictions(manifest), None)
    except Error:
        raise
    except ValueError as failure:
        wrong = str(failure)
    except Exception as failure:  # a damaged file can raise nearly anything
        wrong = type(failure).__name__
    if wrong:
        reason = textwrap.shorten(" ".join(visible(wrong).split()), MAX_REASON)
        raise Error(f"{store.place(JSON_NAME)} is damaged: its parts contradict each other ({reason}). {REBUILD}")
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
            raise Error(f"{place} is missing. {REBUILD}")
        if found != shard.num_bytes:
            sizes = f"{found:,} bytes, but the manifest says {shard.num_bytes:,}"
            raise Error(f"{place} is damaged: it holds {sizes}. {REBUILD}")


def _read_head(store: Store) -> dict[str, Any]:
    data, place = _read_whole(store, JSON_NAME, MAX_HEAD_BYTES), store.place(JSON_NAME)
    if data is None:
        what = "has no manifest.json, so it holds no finished shards" if store.exists() else "is not a folder"
        if store.is_local and store.exists():
            raise Error(
                f"{store} {what}. If it holds images, build shards of them:"
                f" {command_line('shards_tools', 'build', 'KIND', store, '--out', 'SHARDS')}"
            )
        command = command_line(
            "shards_tools", "build", "KIND", "SOURCE", "--out", store if store.is_local else "SHARDS"
        )
        raise Error(f"{store} {what}. Build shards{'' if store.is_local else ', and copy them there'}: {command}")
    try:
        head = json.loads(data)
    except (ValueError, RecursionError):
        raise Error(f"{place} is damaged: it is not JSON. {REBUILD}") from None
    if not isinstance(head, dict) or head.get("schema") != SCHEMA:
        found = head.get("schema") if isinstance(head, dict) else None
        raise Error(f"{place} has schema {found!r:.40}, but this version reads schema {SCHEMA}. {REBUILD}")
    return head


def _read_whole(store: Store, name: str, limit: int) -> bytes | None:
    size = store.size(name)
    if size is None:
        return None
    if size > limit:
        raise Error(f"{store.place(name)} is too large for a manifest: {size:,} bytes. {REBUILD}")
    return store.read(name, 0, size)


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
    head = record(_Head, {known.name: entries[known.name] for known in fields(_Head) if known.name in entries})
    columns = _read_columns(store, head.columns["sha256"])
    if not KEYS.fullmatch(columns["keys"].tobytes()):
        raise ValueError("a key is not visible ASCII")
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
        keys=np.char.decode(columns.pop("keys"), "ascii"),
        **columns,
    )
    if manifest.num_images != head.num_images:
        raise ValueError(f"num_images={head.num_images}, but the columns hold {manifest.num_images}")
    return manifest


def _read_columns(store: Store, sha256: str) -> dict[str, Any]:
    data, place = _read_whole(store, COLUMNS_NAME, MAX_COLUMNS_BYTES), store.place(COLUMNS_NAME)
    if data is None:
        raise Error(f"{place} is missing. {REBUILD}")
    if hashlib.sha256(data).hexdigest() != sha256:
        raise Error(f"{place} is damaged: its checksum differs from {JSON_NAME}. {REBUILD}")
    with warnings.catch_warnings(), np.load(io.BytesIO(data), allow_pickle=False) as file:
        warnings.simplefilter("error")  # a header of another Python version counts as damage
        if sum(member.file_size for member in file.zip.infolist()) > MAX_COLUMNS_BYTES:
            raise ValueError("the columns are compressed and too large")
        columns = {name: file[name] for name in ("keys", *COLUMN_TYPES)}
        if "pairs" in file:
            columns["pairs"] = file["pairs"]
        if "tag_ids" in file:
            names = tuple(np.char.decode(file["tag_names"], "utf-8").tolist())
            columns["tags"] = Tags(names, file["tag_starts"], file["tag_ids"])
    return columns
