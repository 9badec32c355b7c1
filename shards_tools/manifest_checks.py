"""What every manifest must satisfy: readers rely on these ranges, types and sizes."""

import re
from collections.abc import Iterator
from itertools import chain

import numpy as np

from shards_tools.manifest import COLUMN_TYPES, NUM_FOLDS, Manifest, fingerprint
from shards_tools.picture_limits import MAX_PIXELS
from shards_tools.splits import SPLIT_NAMES
from shards_tools.writer import MAX_KEY_LENGTH

SHARD_NAME = re.compile(r"[\w-]+\.tar")
SHA256 = re.compile(r"[0-9a-f]{64}")
KEYS = re.compile(rb"[!-~\0]*")  # visible ASCII; numpy pads with zeros
MAX_PIXELS_PER_BYTE = 10_000  # 8,256 in a PNG of one color with a bit per pixel
NUMBERED_ROLE = re.compile(r"[^/]+/[0-9]{1,18}")  # a fold takes the roles with the lowest numbers as queries


def contradictions(manifest: Manifest) -> Iterator[str]:
    """Yield what is wrong with a manifest. Take only the first one: the later checks rely on the earlier ones."""
    yield from _wrong_texts(manifest)
    yield from _wrong_columns(manifest)
    yield from _wrong_shards(manifest)
    yield from _wrong_extras(manifest)
    columns = {name: getattr(manifest, name) for name in COLUMN_TYPES}
    if manifest.fingerprint != fingerprint(manifest.works, manifest.roles, columns, manifest.tags, manifest.pairs):
        yield "the fingerprint is another one"


def _wrong_texts(manifest: Manifest) -> Iterator[str]:
    if manifest.layout not in NUM_FOLDS:
        yield "the layout is unknown"
    for kind in ("works", "roles"):
        if len(getattr(manifest, kind)) > manifest.num_images:
            yield f"there are more {kind} than images"
    texts = (manifest.source, *manifest.works, *manifest.roles, *manifest.notes, *chain(*manifest.duplicates.pairs))
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        yield "a name is not valid Unicode"
    if manifest.num_folds > 1 and not all(map(NUMBERED_ROLE.fullmatch, manifest.roles)):
        yield "a role is not WORK/NUMBER"


def _wrong_columns(manifest: Manifest) -> Iterator[str]:
    columns = {name: getattr(manifest, name) for name in COLUMN_TYPES}
    if manifest.keys.ndim != 1 or any(column.shape != manifest.keys.shape for column in columns.values()):
        yield "the columns have different lengths"
    for name, kind in COLUMN_TYPES.items():
        if columns[name].dtype != np.dtype(kind):
            yield f"{name} has another type"
    if not manifest.num_images:
        yield "there are no images"
    lengths = np.char.str_len(manifest.keys)
    if lengths.min() < 1 or lengths.max() > MAX_KEY_LENGTH:
        yield f"a key has no characters, or more than {MAX_KEY_LENGTH}"
    highest = {
        "shard": len(manifest.shards) - 1,
        "work": len(manifest.works) - 1,
        "role": len(manifest.roles) - 1,
        "split_code": len(SPLIT_NAMES) - 1,
        "height": MAX_PIXELS,
        "width": MAX_PIXELS,
    }
    bounds = {name: (int(name in ("height", "width")), high) for name, high in highest.items()}
    bounds["fold"] = (0, manifest.num_folds - 1) if manifest.num_folds > 1 else (-1, -1)
    for name, (low, high) in bounds.items():
        found = int(columns[name].min()), int(columns[name].max())
        if found[0] < low or found[1] > high:
            yield f"{name} is from {found[0]} to {found[1]}, not from {low} to {high}"
    num_pixels = manifest.height.astype(np.int64) * manifest.width
    if (num_pixels > MAX_PIXELS).any():
        yield f"an image has more than {MAX_PIXELS:,} pixels"
    if (num_pixels // MAX_PIXELS_PER_BYTE > manifest.size).any():
        yield "an image has more pixels than its bytes can hold"


def _wrong_shards(manifest: Manifest) -> Iterator[str]:
    names = [shard.name for shard in manifest.shards]
    if len(set(names)) < len(names) or not all(map(SHARD_NAME.fullmatch, names)):
        yield "two shards have the same name, or one is no NAME.tar"
    if not all(SHA256.fullmatch(shard.sha256) for shard in manifest.shards):
        yield "a shard has no checksum"
    shard_bytes = np.array([shard.num_bytes for shard in manifest.shards], dtype=np.int64)
    available = shard_bytes[manifest.shard] - manifest.size  # not `offset + size`, which may exceed an int64
    if (manifest.size < 1).any() or (manifest.offset < 0).any() or (manifest.offset > available).any():
        yield "an image is not inside its shard"
    counts = np.bincount(manifest.shard, minlength=len(manifest.shards)).tolist()
    if counts != [shard.num_samples for shard in manifest.shards]:
        yield "a shard has another number of images"


def _wrong_extras(manifest: Manifest) -> Iterator[str]:
    pairs, tags = manifest.pairs, manifest.tags
    if any(len(pair) != 2 for pair in manifest.duplicates.pairs):
        yield "copies are not in pairs"
    if pairs.dtype.kind != "i" or pairs.ndim != 2 or pairs.shape[1] != 2:
        yield "the pairs are no pairs of integers"
    elif ((pairs < 0) | (pairs >= manifest.num_images)).any():
        yield "a pair has an image that does not exist"
    if tags is None:
        return
    if tags.starts.dtype.kind != "i" or tags.ids.dtype.kind != "i" or tags.ids.ndim != 1:
        yield "the tags are no integers"
    elif tags.starts.shape != (manifest.num_images + 1,) or tags.starts[0] != 0 or tags.starts[-1] != len(tags.ids):
        yield "the tags are those of other images"
    elif (np.diff(tags.starts) < 0).any() or ((tags.ids < 0) | (tags.ids >= len(tags.names))).any():
        yield "an image has a tag that does not exist"
