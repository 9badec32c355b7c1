"""Cache of remote shards: each is downloaded once per machine, named by its checksum, and read from disk."""

import errno
import hashlib
import logging
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

from shards_tools.cache import cache_folder
from shards_tools.checksums import open_file
from shards_tools.errors import Error, Unreadable
from shards_tools.folders import build_once, discard
from shards_tools.manifest import Manifest, Shard
from shards_tools.progress import progress
from shards_tools.quota import keep_within_quota, quota_bytes
from shards_tools.stores.local import LocalStore
from shards_tools.stores.store import Store

log = logging.getLogger(__name__)

FILE_NAME = "shard.tar"
RANGE_BYTES = 8 * 2**20


def cached_shard(store: Store, shard: Shard, folder: Path | None = None) -> LocalStore:
    """Return a local folder that holds the shard as FILE_NAME; its size and checksum are checked after the download.

    The first process that needs the shard downloads it, under a lock, to `shards/<sha256>` in `folder`
    (`cache_folder()` if None). Equal shards of two sets share one file. When the quota is full, the least recently used
    shards are evicted; a LocalStore of an evicted shard can still be read.

    Raises:
        Error: the shard cannot be fetched, differs from the manifest, or does not fit on the disk.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", shard.sha256) or shard.num_bytes <= 0:
        raise Unreadable(
            f"The manifest of {store} is damaged: {shard.name} has no checksum or no bytes. Build the shards again."
        )
    folder = folder or cache_folder()
    place = _place_of(shard, folder)
    rebuilt = False
    while True:
        build_once(place, lambda room: _fetch(store, shard, room))
        copy = LocalStore(place)
        if _is_opened(copy, shard):
            keep_within_quota(folder, used=place)
            return copy
        if rebuilt:
            raise Unreadable(
                f"{copy.place(FILE_NAME)} does not match its checksum right after it was fetched again."
                " Set SAKUGA_CACHE to a folder on another disk."
            )
        rebuilt = _discard_if_damaged(place, store, shard)  # if not, another process has evicted or rebuilt it


def _place_of(shard: Shard, folder: Path) -> Path:
    return folder / "shards" / shard.sha256


def _is_opened(copy: LocalStore, shard: Shard) -> bool:
    """Open the file of a copy, so that it stays readable after an eviction, and return whether it has all bytes."""
    if copy.size(FILE_NAME) != shard.num_bytes:
        return False
    try:
        copy.read(FILE_NAME, shard.num_bytes - 1, 1)
    except Error:
        if (copy.folder / FILE_NAME).exists():
            raise
        return False
    return True


def _discard_if_damaged(place: Path, store: Store, shard: Shard) -> bool:
    def is_damaged() -> bool:
        return os.path.lexists(place) and _sha256_of(place / FILE_NAME) != shard.sha256

    discarded = discard(place, is_damaged)
    if discarded:
        log.warning("%s does not match its checksum: the copy of %s is rebuilt", place, store.place(shard.name))
    return discarded


def _sha256_of(path: Path) -> str | None:
    """Return the SHA-256 of a file, or None if it is missing, is no regular file or cannot be read."""
    try:
        with open(open_file(path), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return None


def cached(manifest: Manifest, folder: Path | None = None) -> Manifest:
    """Return the manifest with its shards read through this machine's cache; a local manifest is returned as it is.

    Raises:
        Error: the shards do not fit into the quota.
    """
    return manifest if manifest.store.is_local else replace(manifest, store=CachedStore(manifest, folder))


def copy_fits(manifest: Manifest, folder: Path | None = None) -> bool:
    """Return whether all shards fit into the quota; otherwise they would keep evicting each other."""
    folder = folder or cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return _bytes_of_copy(manifest) <= quota_bytes(folder)


def _bytes_of_copy(manifest: Manifest) -> int:
    return sum({shard.sha256: shard.num_bytes for shard in manifest.shards}.values())


class CachedStore:
    """A manifest's store that downloads each shard on its first read and reads it from disk afterwards."""

    is_local = True

    def __init__(self, manifest: Manifest, folder: Path | None = None) -> None:
        """Raise an Error if the shards do not fit into the quota."""
        self._manifest, self._folder = manifest, folder or cache_folder()
        self._shards = {shard.name: shard for shard in manifest.shards}
        self._fetched: dict[str, LocalStore] = {}
        if not copy_fits(manifest, self._folder):
            raise Unreadable(
                f"The shards of {manifest.store} take {_bytes_of_copy(manifest) / 1e9:.1f} GB, but the cache in"
                f" {self._folder} is limited to {quota_bytes(self._folder) / 1e9:.1f} GB. Increase SAKUGA_CACHE_GB,"
                " set SAKUGA_CACHE to a folder on a larger disk, or use --reading stream."
            )

    def __reduce__(self) -> tuple[type["CachedStore"], tuple[Manifest, Path]]:
        return CachedStore, (self._manifest, self._folder)

    def __str__(self) -> str:
        return str(self._manifest.store)

    def place(self, name: str) -> str:
        """Return the file's address in the remote store, and the path of its copy if there is one."""
        local = self._fetched.get(name)
        return self._manifest.store.place(name) + (f" (cached as {local.place(FILE_NAME)})" if local else "")

    def exists(self) -> bool:
        return self._manifest.store.exists()

    def size(self, name: str) -> int | None:
        return self._manifest.store.size(name)

    def read(self, name: str, start: int, size: int) -> bytes:
        """Read `size` bytes: of a shard from its copy, of any other file from the remote store."""
        if name not in self._shards:
            return self._manifest.store.read(name, start, size)
        local = self._fetched.get(name)
        if local is None:
            local = self._fetched[name] = cached_shard(self._manifest.store, self._shards[name], self._folder)
        return local.read(FILE_NAME, start, size)

    def renew(self, name: str) -> bool:
        """Fetch a shard again if its copy is damaged; return whether there is a copy at all."""
        if name not in self._fetched:
            return False
        store, shard = self._manifest.store, self._shards[name]
        _discard_if_damaged(_place_of(shard, self._folder), store, shard)
        self._fetched[name] = cached_shard(store, shard, self._folder)
        return True


def _fetch(store: Store, shard: Shard, room: Path) -> None:
    free = shutil.disk_usage(room).free
    if free < shard.num_bytes:
        raise _disk_full(store, shard, room)
    log.info("fetching %s (%.1f MB), once per machine", store.place(shard.name), shard.num_bytes / 1e6)
    for _ in range(2):  # a transfer may corrupt a byte; two wrong checksums mean that the shard differs
        try:
            found = _download(store, shard, room / FILE_NAME)
        except OSError as failure:
            if failure.errno in (errno.ENOSPC, errno.EDQUOT):
                raise _disk_full(store, shard, room) from failure
            raise
        if found == shard.sha256:
            return
    raise Unreadable(
        f"{store.place(shard.name)} is damaged: its checksum differs from the manifest, fetched twice."
        " Copy the shards there again, the manifest last."
    )


def _download(store: Store, shard: Shard, path: Path) -> str:
    """Download the shard to `path`, durably, and return its SHA-256; a file of another size is an Error."""
    found, place = store.size(shard.name), store.place(shard.name)
    if found != shard.num_bytes:
        what = "is missing" if found is None else f"holds {found:,} bytes, but the manifest says {shard.num_bytes:,}"
        raise Unreadable(f"{place} {what}. Copy the shards there again, the manifest last.")
    digest = hashlib.sha256()
    with open(path, "wb") as file, progress("fetching", shard.num_bytes, "bytes") as advance:
        for start in range(0, shard.num_bytes, RANGE_BYTES):
            data = store.read(shard.name, start, min(RANGE_BYTES, shard.num_bytes - start))
            digest.update(data)
            file.write(data)
            advance(len(data))
        file.flush()
        os.fsync(file.fileno())  # the copy is never checked again
    return digest.hexdigest()


def _disk_full(store: Store, shard: Shard, room: Path) -> Unreadable:
    free = shutil.disk_usage(room).free
    return Unreadable(
        f"{store.place(shard.name)} needs {shard.num_bytes / 1e6:.1f} MB, but {room.parent} has"
        f" {free / 1e6:.1f} MB free."
        " Set SAKUGA_CACHE to a folder on a larger disk."
    )
