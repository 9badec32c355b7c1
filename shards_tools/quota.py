"""Keeps a cache within its quota: of the pixels and shards in it, those that were used longest ago go first."""

import contextlib
import itertools
import math
import os
import shutil
from pathlib import Path

from shards_tools.errors import Error

PATTERNS = ("pixels-*", "shards/" + 64 * "[0-9a-f]")  # the folders that share the quota; all else in the cache stays


def quota_bytes(folder: Path) -> int:
    """$SAKUGA_CACHE_GB, or half of the disk that holds `folder`."""
    text = os.environ.get("SAKUGA_CACHE_GB", "")
    if not text:
        return shutil.disk_usage(folder).total // 2
    try:
        quota_gb = float(text)
    except ValueError:
        quota_gb = math.nan
    if not (math.isfinite(quota_gb) and quota_gb > 0):
        raise Error(f"SAKUGA_CACHE_GB={text!r} is not a number of gigabytes above 0. Set it to one, or not at all.")
    return int(quota_gb * 1e9)


def keep_within_quota(folder: Path, *, used: Path) -> None:
    """Note that the folder `used` is in use, and remove others of PATTERNS until all fit into the quota.

    `used` itself stays, also where it alone is larger. A process that has mapped a file of a removed folder keeps it:
    the space is free when the last of them ends.
    """
    with contextlib.suppress(FileNotFoundError):  # removed by another process in this moment; the caller has mapped it
        os.utime(used)
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
    """Hidden in one step and emptied after, so that nobody finds half of it."""
    hidden = folder.with_name(f".{folder.name}.{os.getpid()}.removed")
    with contextlib.suppress(FileNotFoundError):
        folder.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)
