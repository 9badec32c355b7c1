"""The manifest: names, labels, splits, places and checksums of every image. It is the truth about a folder of shards.

`manifest.json` holds the names and the shards, `manifest.npz` one column per field of an image. Readers take offsets
and sizes from here and never from tar headers. A folder without a manifest is no dataset: it is written last.
"""

import hashlib
import io
import json
import re
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shards_tools.errors import Error
from shards_tools.folders import write_durably
from shards_tools.splits import SPLIT_NAMES, TRAIN, VAL_GALLERY, VAL_QUERY, query_roles_of_fold

SCHEMA = 1
JSON_NAME = "manifest.json"
COLUMNS_NAME = "manifest.npz"
SHARD_NAME = re.compile(r"[\w-]+\.tar")
NUM_FOLDS = {"plain": 1, "five-fold": 5}
COLUMN_TYPES = {
    "shard": "<i4",
    "offset": "<i8",
    "size": "<i8",
    "sha256": "S64",
    "work": "<i4",
    "role": "<i4",
    "split_code": "i1",
    "fold": "i1",
    "height": "<i4",
    "width": "<i4",
}
REBUILD = "Build the shards again: python -m shards_tools build lsasrd SOURCE --out SHARDS."


@dataclass(frozen=True)
class Shard:
    """One tar file of the folder."""

    name: str
    num_samples: int
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class Duplicates:
    """Files with equal bytes, as `find_duplicates` counts them; a pair holds the keys of two that should differ."""

    num_copies: int = 0  # files whose bytes an earlier file has
    num_under_two_labels: int = 0  # different images that stand under two roles or more
    num_on_two_sides: int = 0  # different images that stand on two sides; 0 unless the build was told to allow it
    pairs: tuple[tuple[str, str], ...] = ()  # the first few under two labels or on two sides


@dataclass(frozen=True)
class Split:
    """Indices into the manifest, int64 and ascending; `test_*` are empty where the data has no test split."""

    train: np.ndarray
    val_query: np.ndarray
    val_gallery: np.ndarray
    test_query: np.ndarray
    test_gallery: np.ndarray


@dataclass(frozen=True, eq=False)
class Manifest:
    """All that is known about a folder of shards. The columns are arrays with one entry per image.

    The order of the images is that of their names in the source tree, not that of the shards.
    """

    folder: Path
    source: str  # "lsasrd"
    layout: str  # "plain" or "five-fold"
    works: tuple[str, ...]  # sorted; index = work id
    roles: tuple[str, ...]  # "WORK/ROLE", sorted; index = role id
    shards: tuple[Shard, ...]
    keys: np.ndarray  # str
    shard: np.ndarray  # index into shards
    offset: np.ndarray  # bytes from the start of the shard to the encoded image
    size: np.ndarray  # bytes of the encoded image
    sha256: np.ndarray  # of the encoded image, 64 hex digits as bytes
    work: np.ndarray
    role: np.ndarray
    split_code: np.ndarray  # code of splits.py in a plain layout; all 0 in a five-fold one: see `Manifest.split`
    fold: np.ndarray  # 0..4, or -1 in a plain layout
    height: np.ndarray  # px
    width: np.ndarray  # px
    fingerprint: str  # equal for equal images, labels and splits, wherever they were built
    duplicates: Duplicates = Duplicates()

    @property
    def num_images(self) -> int:
        """How many images there are in all splits together."""
        return len(self.keys)

    @property
    def num_folds(self) -> int:
        """1 in a plain layout, 5 in a five-fold one."""
        return NUM_FOLDS[self.layout]

    def split(self, fold: int = 0) -> Split:
        """The images of each split: as cut when built, or fold `fold` for validation and the others for training."""
        if not 0 <= fold < self.num_folds:
            known = "fold 0 alone" if self.num_folds == 1 else f"folds 0 to {self.num_folds - 1}"
            raise Error(f"Fold {fold} does not exist: the {self.layout} layout of {self.folder} has {known}.")
        codes = self.split_code if self.layout == "plain" else self._codes_of_fold(fold)
        return Split(*(np.flatnonzero(codes == code) for code in range(len(SPLIT_NAMES))))

    def _codes_of_fold(self, fold: int) -> np.ndarray:
        in_fold = self.fold == fold
        queries = query_roles_of_fold(self.roles, np.unique(self.role[in_fold]))
        return np.where(in_fold, np.where(np.isin(self.role, queries), VAL_QUERY, VAL_GALLERY), TRAIN)


def fingerprint(works: tuple[str, ...], roles: tuple[str, ...], columns: dict[str, np.ndarray]) -> str:
    """SHA-256 over names, labels, splits and image hashes, in the order of the images; 64 hex digits."""
    digest = hashlib.sha256(json.dumps([SCHEMA, works, roles], ensure_ascii=True).encode())
    for name in ("work", "role", "split_code", "fold", "sha256"):
        digest.update(np.ascontiguousarray(columns[name], dtype=COLUMN_TYPES[name]).tobytes())
    return digest.hexdigest()


def write_manifest(manifest: Manifest) -> None:
    """Write both files into the manifest's folder, the columns first; equal manifests give equal bytes."""
    columns = {name: np.asarray(getattr(manifest, name), dtype=kind) for name, kind in COLUMN_TYPES.items()}
    file = io.BytesIO()
    np.savez(file, keys=np.char.encode(manifest.keys, "ascii"), **columns)  # type: ignore[arg-type]  # any name is a column
    write_durably(manifest.folder / COLUMNS_NAME, file.getvalue())
    head = {
        "schema": SCHEMA,
        "source": manifest.source,
        "layout": manifest.layout,
        "fingerprint": manifest.fingerprint,
        "num_images": manifest.num_images,
        "duplicates": asdict(manifest.duplicates),
        "columns": {"name": COLUMNS_NAME, "sha256": hashlib.sha256(file.getvalue()).hexdigest()},
        "shards": [asdict(shard) for shard in manifest.shards],
        "works": manifest.works,
        "roles": manifest.roles,
    }
    write_durably(manifest.folder / JSON_NAME, (json.dumps(head, indent=1) + "\n").encode())


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder of shards, checked against itself and against the sizes of the shards."""
    folder = Path(folder)
    head = _read_head(folder)
    try:
        shards = tuple(Shard(**shard) for shard in head["shards"])
        columns = _read_columns(folder, head["columns"]["sha256"])
        manifest = Manifest(
            folder=folder,
            shards=shards,
            works=tuple(head["works"]),
            roles=tuple(head["roles"]),
            source=head["source"],
            layout=head["layout"],
            fingerprint=head["fingerprint"],
            duplicates=_read_duplicates(head),
            keys=np.char.decode(columns.pop("keys"), "ascii"),
            **columns,
        )
        whole = manifest.layout in NUM_FOLDS and manifest.num_images == head["num_images"] and _fits_together(manifest)
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile):
        whole = False
    if not whole:
        raise Error(f"{folder / JSON_NAME} is damaged: its parts contradict each other. {REBUILD}")
    _check_shard_sizes(manifest)
    return manifest


def _read_head(folder: Path) -> dict[str, Any]:
    path = folder / JSON_NAME
    if not path.is_file():
        what = "has no manifest.json, so it holds no finished shards" if folder.is_dir() else "is no folder"
        raise Error(f"{folder} {what}. Build shards with: python -m shards_tools build lsasrd SOURCE --out {folder}.")
    try:
        head = json.loads(path.read_bytes())
    except ValueError:
        raise Error(f"{path} is damaged: it is not JSON. {REBUILD}") from None
    if not isinstance(head, dict) or head.get("schema") != SCHEMA:
        found = head.get("schema") if isinstance(head, dict) else None
        raise Error(f"{path} has schema {found}, this version reads schema {SCHEMA}. {REBUILD}")
    return head


def _read_duplicates(head: dict[str, Any]) -> Duplicates:
    found = dict(head.get("duplicates", {}))  # manifests of an earlier version have none
    return Duplicates(**found | {"pairs": tuple((first, second) for first, second in found.get("pairs", ()))})


def _read_columns(folder: Path, sha256: str) -> dict[str, np.ndarray]:
    path = folder / COLUMNS_NAME
    if not path.is_file():
        raise Error(f"{path} is missing. {REBUILD}")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise Error(f"{path} is damaged: its checksum differs from the one in {JSON_NAME}. {REBUILD}")
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return {name: file[name] for name in ("keys", *COLUMN_TYPES)}


def _fits_together(manifest: Manifest) -> bool:
    """Whether columns are of one length, ids and offsets lie inside their bounds, and the fingerprint is right."""
    columns = {name: getattr(manifest, name) for name in COLUMN_TYPES}
    if any(column.shape != manifest.keys.shape for column in columns.values()):
        return False
    bounds = {"shard": len(manifest.shards), "work": len(manifest.works), "role": len(manifest.roles)}
    if any(((columns[name] < 0) | (columns[name] >= bound)).any() for name, bound in bounds.items()):
        return False
    shard_bytes = np.array([shard.num_bytes for shard in manifest.shards], dtype=np.int64)
    ends = manifest.offset + manifest.size
    inside = (manifest.offset >= 0) & (manifest.size > 0) & (ends <= shard_bytes[manifest.shard])
    counts = np.bincount(manifest.shard, minlength=len(manifest.shards)).tolist()
    return (
        bool(inside.all())
        and counts == [shard.num_samples for shard in manifest.shards]
        and all(SHARD_NAME.fullmatch(shard.name) for shard in manifest.shards)
        and manifest.fingerprint == fingerprint(manifest.works, manifest.roles, columns)
    )


def _check_shard_sizes(manifest: Manifest) -> None:
    for shard in manifest.shards:
        path = manifest.folder / shard.name
        if not path.is_file():
            raise Error(f"{path} is missing. {REBUILD}")
        if path.stat().st_size != shard.num_bytes:
            found = f"{path.stat().st_size:,} bytes, its manifest says {shard.num_bytes:,}"
            raise Error(f"{path} is damaged: it holds {found}. {REBUILD}")
