"""The manifest on disk: written last, and checked when it is read, as far as that is possible without the shards.

`manifest.json` holds the names and the list of shards, `manifest.npz` one column per field of an image. A folder
without a manifest is not a dataset.
"""

import hashlib
import io
import json
import re
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from shards_tools.command import command_line
from shards_tools.conversion import Conversion
from shards_tools.errors import Error
from shards_tools.folders import write_durably
from shards_tools.manifest import COLUMN_TYPES, NUM_FOLDS, SCHEMA, Duplicates, Manifest, Shard, Tags, fingerprint
from shards_tools.stores import open_store
from shards_tools.stores.store import Store

JSON_NAME = "manifest.json"
COLUMNS_NAME = "manifest.npz"
MAX_MANIFEST_BYTES = 2**30  # for each file; DAF:re needs 60 MB
SHARD_NAME = re.compile(r"[\w-]+\.tar")
KEYS = re.compile(rb"[!-~\0]*")  # visible ASCII; numpy pads with zeros
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
        whole = manifest.layout in NUM_FOLDS and manifest.num_images == head["num_images"] and _fits_together(manifest)
    except Error:
        raise
    except Exception:  # a damaged file can raise nearly anything
        whole = False
    if not whole:
        raise Error(f"{store.place(JSON_NAME)} is damaged: its parts contradict each other. {REBUILD}")
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
    data, place = _read_whole(store, JSON_NAME), store.place(JSON_NAME)
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


def _read_whole(store: Store, name: str) -> bytes | None:
    size = store.size(name)
    if size is None:
        return None
    if size > MAX_MANIFEST_BYTES:
        raise Error(f"{store.place(name)} is too large for a manifest: {size:,} bytes. {REBUILD}")
    return store.read(name, 0, size)


def _assemble(store: Store, head: dict[str, Any]) -> Manifest:
    columns = _read_columns(store, head["columns"]["sha256"])
    if not KEYS.fullmatch(columns["keys"].tobytes()):
        raise ValueError("a key is not visible ASCII")
    return Manifest(
        store=store,
        shards=tuple(Shard(**shard) for shard in head["shards"]),
        works=tuple(head["works"]),
        roles=tuple(head["roles"]),
        source=head["source"],
        layout=head["layout"],
        fingerprint=head["fingerprint"],
        duplicates=_read_duplicates(head),
        notes=tuple(head.get("notes", ())),  # absent from older manifests, as is the next
        conversion=Conversion(**head.get("conversion", {})),
        keys=np.char.decode(columns.pop("keys"), "ascii"),
        **columns,
    )


def _read_duplicates(head: dict[str, Any]) -> Duplicates:
    found = dict(head.get("duplicates", {}))  # absent from older manifests
    return Duplicates(**found | {"pairs": tuple((first, second) for first, second in found.get("pairs", ()))})


def _read_columns(store: Store, sha256: str) -> dict[str, Any]:
    data, place = _read_whole(store, COLUMNS_NAME), store.place(COLUMNS_NAME)
    if data is None:
        raise Error(f"{place} is missing. {REBUILD}")
    if hashlib.sha256(data).hexdigest() != sha256:
        raise Error(f"{place} is damaged: its checksum differs from {JSON_NAME}. {REBUILD}")
    with warnings.catch_warnings(), np.load(io.BytesIO(data), allow_pickle=False) as file:
        warnings.simplefilter("error")  # a header of another Python version counts as damage
        if sum(member.file_size for member in file.zip.infolist()) > MAX_MANIFEST_BYTES:
            raise ValueError("the columns are compressed and too large")
        columns = {name: file[name] for name in ("keys", *COLUMN_TYPES)}
        if "pairs" in file:
            columns["pairs"] = file["pairs"]
        if "tag_ids" in file:
            names = tuple(np.char.decode(file["tag_names"], "utf-8").tolist())
            columns["tags"] = Tags(names, file["tag_starts"], file["tag_ids"])
    return columns


def _fits_together(manifest: Manifest) -> bool:
    """Return whether columns have equal lengths, ids and offsets are in bounds, and the fingerprint is correct."""
    columns = {name: getattr(manifest, name) for name in COLUMN_TYPES}
    if any(column.shape != manifest.keys.shape for column in columns.values()) or manifest.keys.ndim != 1:
        return False
    if any(columns[name].dtype != np.dtype(kind) for name, kind in COLUMN_TYPES.items()):
        return False
    bounds = {"shard": len(manifest.shards), "work": len(manifest.works), "role": len(manifest.roles)}
    if any(((columns[name] < 0) | (columns[name] >= bound)).any() for name, bound in bounds.items()):
        return False
    shard_bytes = np.array([shard.num_bytes for shard in manifest.shards], dtype=np.int64)
    ends = manifest.offset + manifest.size
    inside = (manifest.offset >= 0) & (manifest.size > 0) & (ends <= shard_bytes[manifest.shard])
    counts = np.bincount(manifest.shard, minlength=len(manifest.shards)).tolist()
    texts = (manifest.source, *manifest.works, *manifest.roles, *manifest.notes)
    return (
        bool(inside.all())
        and all(isinstance(text, str) for text in texts)
        and counts == [shard.num_samples for shard in manifest.shards]
        and all(SHARD_NAME.fullmatch(shard.name) for shard in manifest.shards)
        and _extras_fit(manifest)
        and manifest.fingerprint == fingerprint(manifest.works, manifest.roles, columns, manifest.tags, manifest.pairs)
    )


def _extras_fit(manifest: Manifest) -> bool:
    """Return whether the pairs are image indices and the tags' starts and ids are in bounds."""
    pairs, tags = manifest.pairs, manifest.tags
    if pairs.ndim != 2 or pairs.shape[1] != 2 or ((pairs < 0) | (pairs >= manifest.num_images)).any():
        return False
    if tags is None:
        return True
    return (
        tags.starts.shape == (manifest.num_images + 1,)
        and tags.starts[0] == 0
        and tags.starts[-1] == len(tags.ids)
        and bool((np.diff(tags.starts) >= 0).all())
        and bool(((tags.ids >= 0) & (tags.ids < len(tags.names))).all())
    )
