"""What every manifest must satisfy: readers rely on these ranges, types and sizes."""

import re
from collections.abc import Callable, Iterator
from itertools import chain

import numpy as np

from shards_tools.columns import parts
from shards_tools.manifest import COLUMN_TYPES, NUM_FOLDS, Manifest, fingerprint
from shards_tools.picture_limits import MAX_PIXELS
from shards_tools.splits import SPLIT_NAMES
from shards_tools.writer import MAX_KEY_LENGTH

SHARD_NAME = re.compile(r"[\w-]+\.tar")
SHA256 = re.compile(r"[0-9a-f]{64}")
FIRST_VISIBLE, LAST_VISIBLE = ord("!"), ord("~")  # of ASCII; numpy pads keys with zeros
MAX_PIXELS_PER_BYTE = 10_000  # 8,256 in a PNG of one color with a bit per pixel
NUMBERED_ROLE = re.compile(r"[^/]+/[0-9]{1,18}")  # a fold takes the roles with the lowest numbers as queries


def contradictions(manifest: Manifest, release: Callable[[], object] = lambda: None) -> Iterator[str]:
    """Yield what is wrong with a manifest. Take only the first one: the later checks rely on the earlier ones.

    Args:
        manifest: as read.
        release: called after every part of the columns, to remove it from memory.
    """
    yield from _wrong_texts(manifest)
    yield from _wrong_columns(manifest)
    yield from _wrong_keys(manifest, release)
    yield from _wrong_ranges(manifest, release)
    yield from _wrong_sizes(manifest, release)
    yield from _wrong_shards(manifest, release)
    yield from _wrong_extras(manifest, release)
    columns = {name: getattr(manifest, name) for name in COLUMN_TYPES}
    labels = manifest.works, manifest.roles
    if manifest.fingerprint != fingerprint(*labels, columns, manifest.tags, manifest.pairs, release=release):
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
    if any(column.shape != (manifest.num_images,) for column in columns.values()):
        yield "the columns have different lengths"
    for name, kind in COLUMN_TYPES.items():
        if columns[name].dtype != np.dtype(kind):
            yield f"{name} has another type"
    if not manifest.num_images:
        yield "there are no images"


def _wrong_keys(manifest: Manifest, release: Callable[[], object]) -> Iterator[str]:
    for part in parts(manifest.num_images, release):
        keys = manifest.keys.stored[part]
        characters = keys.view(np.uint8)
        if characters.max() > LAST_VISIBLE or (characters - np.uint8(1) < FIRST_VISIBLE - 1).any():  # 0 becomes 255
            yield "a key is not visible ASCII"
        lengths = np.char.str_len(keys)
        if lengths.min() < 1 or lengths.max() > MAX_KEY_LENGTH:
            yield f"a key has no characters, or more than {MAX_KEY_LENGTH}"


def _wrong_ranges(manifest: Manifest, release: Callable[[], object]) -> Iterator[str]:
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
        column = getattr(manifest, name)
        extremes = [(int(column[part].min()), int(column[part].max())) for part in parts(len(column), release)]
        found = min(least for least, _ in extremes), max(greatest for _, greatest in extremes)
        if found[0] < low or found[1] > high:
            yield f"{name} is from {found[0]} to {found[1]}, not from {low} to {high}"


def _wrong_sizes(manifest: Manifest, release: Callable[[], object]) -> Iterator[str]:
    for part in parts(manifest.num_images, release):
        num_pixels = manifest.height[part].astype(np.int64) * manifest.width[part]
        if (num_pixels > MAX_PIXELS).any():
            yield f"an image has more than {MAX_PIXELS:,} pixels"
        if (num_pixels // MAX_PIXELS_PER_BYTE > manifest.size[part]).any():
            yield "an image has more pixels than its bytes can hold"


def _wrong_shards(manifest: Manifest, release: Callable[[], object]) -> Iterator[str]:
    names = [shard.name for shard in manifest.shards]
    if len(set(names)) < len(names) or not all(map(SHARD_NAME.fullmatch, names)):
        yield "two shards have the same name, or one is no NAME.tar"
    if not all(SHA256.fullmatch(shard.sha256) for shard in manifest.shards):
        yield "a shard has no checksum"
    shard_bytes = np.array([shard.num_bytes for shard in manifest.shards], dtype=np.int64)
    counts = np.zeros(len(manifest.shards), np.int64)
    for part in parts(manifest.num_images, release):
        shard, size, offset = manifest.shard[part], manifest.size[part], manifest.offset[part]
        available = shard_bytes[shard] - size  # not `offset + size`, which may exceed an int64
        if (size < 1).any() or (offset < 0).any() or (offset > available).any():
            yield "an image is not inside its shard"
        counts += np.bincount(shard, minlength=len(counts))
    if counts.tolist() != [shard.num_samples for shard in manifest.shards]:
        yield "a shard has another number of images"


def _wrong_extras(manifest: Manifest, release: Callable[[], object]) -> Iterator[str]:
    if any(len(pair) != 2 for pair in manifest.duplicates.pairs):
        yield "copies are not in pairs"
    pairs = manifest.pairs
    if pairs.dtype.kind != "i" or pairs.ndim != 2 or pairs.shape[1] != 2:
        yield "the pairs are no pairs of integers"
    if _exceeds(pairs, manifest.num_images, release):
        yield "a pair has an image that does not exist"
    if manifest.tags is None:
        return
    starts, ids = manifest.tags.starts, manifest.tags.ids
    if starts.dtype.kind != "i" or ids.dtype.kind != "i" or ids.ndim != 1:
        yield "the tags are no integers"
    if starts.shape != (manifest.num_images + 1,) or starts[0] != 0 or starts[-1] != len(ids):
        yield "the tags are those of other images"
    ends = starts[1:]
    backward = any((ends[part] < starts[part]).any() for part in parts(len(ends), release))
    if backward or _exceeds(ids, len(manifest.tags.names), release):
        yield "an image has a tag that does not exist"


def _exceeds(indices: np.ndarray, length: int, release: Callable[[], object]) -> bool:
    """Return whether an index is negative or not below `length`."""
    return any(((indices[part] < 0) | (indices[part] >= length)).any() for part in parts(len(indices), release))
