"""Keep the cache within its quota: evict the least recently used pixels and shards."""

import contextlib
import itertools
import math
import os
import shutil
from pathlib import Path

from shards_tools.errors import Error

PATTERNS = ("pixels-*", "shards/" + 64 * "[0-9a-f]")  # folders that share the quota; everything else stays
HALF_REMOVED = (".pixels-*.removed", "shards/.*.removed")  # left by a process that was killed while it evicted


def quota_bytes(folder: Path) -> int:
    """Return the quota in bytes: $SAKUGA_CACHE_GB, or half of the disk that holds `folder`.

    Raises:
        Error: $SAKUGA_CACHE_GB is not a number > 0.
    """
    text = os.environ.get("SAKUGA_CACHE_GB", "")
    if not text:
        return shutil.disk_usage(folder).total // 2
    try:
        quota_gb = float(text)
    except ValueError:
        quota_gb = math.nan
    if not (math.isfinite(quota_gb) and quota_gb > 0):
        raise Error(f"SAKUGA_CACHE_GB={text!r} is not a number > 0. Set it to a number of gigabytes or unset it.")
    return int(quota_gb * 1e9)


def keep_within_quota(folder: Path, *, used: Path) -> None:
    """Mark the folder `used` as just used, and evict other folders of PATTERNS until the rest fits into the quota.

    `used` itself is never evicted, even if it exceeds the quota. A process that has mapped a file of an evicted folder
    can still read it; the disk space is freed when the last such process exits.
    """
    # just evicted by another process, and the caller has mapped it; or in another user's cache
    with contextlib.suppress(FileNotFoundError, PermissionError):
        os.utime(used)
    for left in itertools.chain.from_iterable(folder.glob(pattern) for pattern in HALF_REMOVED):
        shutil.rmtree(left, ignore_errors=True)
    last_use = {}
    for entry in itertools.chain.from_iterable(folder.glob(pattern) for pattern in PATTERNS):
        with contextlib.suppress(FileNotFoundError):
            last_use[entry] = entry.stat().st_mtime_ns
    sizes = {entry: _bytes_in(entry) for entry in last_use}
    surplus = sum(sizes.values()) - quota_bytes(folder)
    for entry in sorted(last_use, key=last_use.__getitem__):
        if surplus <= 0:
            return
        if entry != used:
            _remove(entry)
            surplus -= sizes[entry]


def _bytes_in(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += file.stat().st_size
    return total


def _remove(folder: Path) -> None:
    """Rename the folder to a hidden one, then delete it, so that no process sees it half deleted."""
    hidden = folder.with_name(f".{folder.name}.{os.getpid()}.removed")
    with contextlib.suppress(FileNotFoundError, PermissionError):  # PermissionError: another user's
        folder.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)
