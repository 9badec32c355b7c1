"""What the addresses on the command line of a search may be."""

from __future__ import annotations

import re
from pathlib import Path

from shards_tools.errors import Error
from shards_tools.stores.address import BUCKET_SCHEMES, Address, parse_address

TRACKING_SCHEMES = ("sqlite:///", "postgresql", "http://", "https://")


def checked_runs(runs: Path) -> Path:
    """The folder of --runs, absolute; Error for the address of something else."""
    if re.match(r"[a-z][a-z0-9+.-]+:/", str(runs)):  # of two slashes a path keeps one
        raise Error(
            f"--runs {runs} is an address. Give a folder, on several nodes one that all of them share, or let a bucket"
            " keep what they share: --checkpoints s3://BUCKET/PREFIX."
        )
    return runs.absolute()


def checked_bucket(place: str) -> str:
    """The address of --checkpoints, written in one way; Error where it is no bucket."""
    address = parse_address(place)
    if not isinstance(address, Address) or address.scheme not in BUCKET_SCHEMES:
        raise Error(
            f"--checkpoints {place} is no bucket. Give s3://BUCKET/PREFIX or gs://BUCKET/PREFIX; --runs takes folders."
        )
    return str(address)


def checked_tracking(uri: str) -> str:
    """The MLflow store of --tracking; Error where MLflow knows none of the kind."""
    if not uri.startswith(TRACKING_SCHEMES):
        raise Error(f"--tracking {uri!r} is no MLflow store. Use sqlite:///FILE, postgresql://... or http://HOST:PORT.")
    return uri


def refuse_password(data: str | Path) -> None:
    """A search tells its trials the address through files, and MLflow shows it."""
    place = parse_address(str(data))
    if isinstance(place, Address) and place.user:
        raise Error(
            f"--data {place} came with a password, which the search would write to its files. Use a store that needs"
            " none, or s3:// or gs:// with keys in the environment."
        )
