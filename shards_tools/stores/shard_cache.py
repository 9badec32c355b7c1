"""Shards of a remote store, fetched once per machine and read from its disk: the name is the content's checksum."""

import errno
import hashlib
import logging
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

from shards_tools.cache import cache_folder
from shards_tools.errors import Error
from shards_tools.folders import build_once
from shards_tools.manifest import Manifest, Shard
from shards_tools.progress import progress
from shards_tools.quota import keep_within_quota, quota_bytes
from shards_tools.stores.local import LocalStore
from shards_tools.stores.store import Store

log = logging.getLogger(__name__)

FILE_NAME = "shard.tar"
RANGE_BYTES = 8 * 2**20


def cached_shard(store: Store, shard: Shard, folder: Path | None = None) -> LocalStore:
    """A folder of this machine that holds a whole shard as FILE_NAME, checked by size and checksum when it arrived.

    It is fetched by the first process that asks, under a lock, and kept as `shards/<sha256>` in `folder`
    (`cache_folder()` if None). Equal shards of two sets are one file, other ones never meet, whatever their names. What
    was used longest ago goes when the quota is full; who holds a LocalStore of it can go on reading.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", shard.sha256) or shard.num_bytes <= 0:
        raise Error(f"The manifest of {store} is damaged: {shard.name} has no checksum or no bytes. Build it again.")
    folder = folder or cache_folder()
    while True:
        place = build_once(folder / "shards" / shard.sha256, lambda room: _fetch(store, shard, room))
        copy = LocalStore(place)
        try:
            copy.read(FILE_NAME, 0, 1)  # opens it, so that it stays readable when others make room
        except Error:
            if (place / FILE_NAME).exists():
                raise
            continue  # another process has made room between the two lines above
        keep_within_quota(folder, used=place)
        return copy


def cached(manifest: Manifest, folder: Path | None = None) -> Manifest:
    """The same manifest, its shards read through the cache of this machine; a local one as it is."""
    return manifest if manifest.store.is_local else replace(manifest, store=CachedStore(manifest, folder))


def copy_fits(manifest: Manifest, folder: Path | None = None) -> bool:
    """Whether the quota holds all shards at once: else they would push each other out without end."""
    folder = folder or cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return _bytes_of_copy(manifest) <= quota_bytes(folder)


def _bytes_of_copy(manifest: Manifest) -> int:
    return sum({shard.sha256: shard.num_bytes for shard in manifest.shards}.values())


class CachedStore:
    """A manifest's store, its shards fetched whole when they are first read, and read from the disk from then on."""

    is_local = True

    def __init__(self, manifest: Manifest, folder: Path | None = None) -> None:
        """Refuses a set that the quota cannot hold."""
        self._manifest, self._folder = manifest, folder or cache_folder()
        self._shards = {shard.name: shard for shard in manifest.shards}
        self._fetched: dict[str, LocalStore] = {}
        if not copy_fits(manifest, self._folder):
            raise Error(
                f"The shards of {manifest.store} take {_bytes_of_copy(manifest) / 1e9:.1f} GB, the cache in"
                f" {self._folder} may take {quota_bytes(self._folder) / 1e9:.1f} GB. Set SAKUGA_CACHE_GB higher,"
                " SAKUGA_CACHE to a larger disk, or take --reading stream."
            )

    def __reduce__(self) -> tuple[type["CachedStore"], tuple[Manifest, Path]]:
        return CachedStore, (self._manifest, self._folder)

    def __str__(self) -> str:
        return str(self._manifest.store)

    def place(self, name: str) -> str:
        """The file in the remote store, and where its copy lies once there is one."""
        local = self._fetched.get(name)
        return self._manifest.store.place(name) + (f" (cached as {local.place(FILE_NAME)})" if local else "")

    def exists(self) -> bool:
        """Whether the remote folder is there."""
        return self._manifest.store.exists()

    def size(self, name: str) -> int | None:
        """The bytes of a file in the remote store, or None where there is none."""
        return self._manifest.store.size(name)

    def read(self, name: str, start: int, size: int) -> bytes:
        """`size` bytes of a shard's copy; of other files, of the remote one."""
        if name not in self._shards:
            return self._manifest.store.read(name, start, size)
        local = self._fetched.get(name)
        if local is None:
            local = self._fetched[name] = cached_shard(self._manifest.store, self._shards[name], self._folder)
        return local.read(FILE_NAME, start, size)


def _fetch(store: Store, shard: Shard, room: Path) -> None:
    free = shutil.disk_usage(room).free
    if free < shard.num_bytes:
        raise _disk_full(store, shard, room)
    log.info("fetching %s, %.1f MB, once for this machine", store.place(shard.name), shard.num_bytes / 1e6)
    for _ in range(2):  # a broken line may pass a wrong byte; twice means that the shard is another
        try:
            found = _download(store, shard, room / FILE_NAME)
        except OSError as failure:
            if failure.errno in (errno.ENOSPC, errno.EDQUOT):
                raise _disk_full(store, shard, room) from failure
            raise
        if found == shard.sha256:
            return
    raise Error(
        f"{store.place(shard.name)} is damaged: its checksum is not its manifest's, fetched twice."
        " Copy the shards there again, and the manifest last."
    )


def _download(store: Store, shard: Shard, path: Path) -> str:
    """Write the shard to `path`, durably; its SHA-256. An Error where the store's file is of another size."""
    found, place = store.size(shard.name), store.place(shard.name)
    if found != shard.num_bytes:
        what = "is missing" if found is None else f"holds {found:,} bytes, its manifest says {shard.num_bytes:,}"
        raise Error(f"{place} {what}. Copy the shards there again, and the manifest last.")
    digest = hashlib.sha256()
    with open(path, "wb") as file, progress("fetching", shard.num_bytes, "bytes") as advance:
        for start in range(0, shard.num_bytes, RANGE_BYTES):
            data = store.read(shard.name, start, min(RANGE_BYTES, shard.num_bytes - start))
            digest.update(data)
            file.write(data)
            advance(len(data))
        file.flush()
        os.fsync(file.fileno())  # it is never checked again
    return digest.hexdigest()


def _disk_full(store: Store, shard: Shard, room: Path) -> Error:
    free = shutil.disk_usage(room).free
    return Error(
        f"{store.place(shard.name)} needs {shard.num_bytes / 1e6:.1f} MB, {room.parent} has {free / 1e6:.1f} MB left."
        " Set SAKUGA_CACHE to a folder on a larger disk."
    )
