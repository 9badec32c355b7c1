"""Paths under --runs, which are stored relative to it, so that the folder can be moved or copied.

A process has one such folder at a time: that of its search, or of the study that it reads.
"""

from __future__ import annotations

from pathlib import Path

from trainables.training.checkpoint_store import IN_BUCKET

_runs: list[Path] = []  # at most one


def use_runs(runs: Path) -> None:
    """Store and find the paths of this process relative to `runs` from now on."""
    _runs[:] = [runs.absolute()]


def stored_path(place: str) -> str:
    """Return what to store for a path: the part below --runs, or `place` itself if it is elsewhere, as in a bucket."""
    if not _runs or IN_BUCKET.match(place) or not Path(place).is_relative_to(_runs[0]):
        return place
    return str(Path(place).relative_to(_runs[0]))


def located(stored: str) -> str:
    """Return the absolute path, or the address in a bucket, of what `stored_path` returned; empty for an empty text.

    Studies of earlier versions have absolute paths, which stay as they are.
    """
    if not stored or not _runs or IN_BUCKET.match(stored):
        return stored
    return str(_runs[0] / stored)
