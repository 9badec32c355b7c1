"""Checks of the addresses on a search's command line."""

from __future__ import annotations

import re
from pathlib import Path

from shards_tools.errors import Error
from shards_tools.stores.address import BUCKET_SCHEMES, Address, parse_address

TRACKING_SCHEMES = ("sqlite:///", "postgresql", "http://", "https://")


def checked_runs(runs: Path) -> Path:
    """Return the folder of --runs as an absolute path.

    Raises:
        Error: it is an address, or the addresses of the databases in it would have another meaning.
    """
    if re.match(r"[a-z][a-z0-9+.-]+:/", str(runs)):  # Path turns "//" into "/"
        raise Error(
            f"--runs {runs} is an address, not a folder. Give a folder, which several nodes must share, or keep the"
            " checkpoints in a bucket with --checkpoints s3://BUCKET/PREFIX."
        )
    if found := re.search(r"[?%]", str(runs.absolute())):
        raise Error(f"--runs {runs}: its path has {found[0]!r}, which database addresses reserve. Use another folder.")
    return runs.absolute()


def checked_bucket(place: str) -> str:
    """Return the address of --checkpoints in its normal form.

    Raises:
        Error: it is not a bucket.
    """
    address = parse_address(place)
    if not isinstance(address, Address) or address.scheme not in BUCKET_SCHEMES:
        raise Error(
            f"--checkpoints {place} is not a bucket. Give s3://BUCKET/PREFIX or gs://BUCKET/PREFIX; --runs takes"
            " folders."
        )
    return str(address)


def checked_tracking(uri: str) -> str:
    """Return the MLflow store of --tracking.

    Raises:
        Error: MLflow has no store of this kind.
    """
    if not uri.startswith(TRACKING_SCHEMES):
        raise Error(
            f"--tracking {uri!r} is not an MLflow store. Use sqlite:///FILE, postgresql://... or http://HOST:PORT."
        )
    if not uri.startswith("http"):
        from platform.databases import parse_url  # here, because it imports SQLAlchemy

        parse_url(uri)
    return uri


def refuse_password(data: str | Path) -> None:
    """Refuse an address with a password, because the search writes the address to files and MLflow shows it.

    Raises:
        Error: the address has a password.
    """
    place = parse_address(str(data))
    if isinstance(place, Address) and place.user:
        raise Error(
            f"--data {place} has a password, which the search would write to its files. Use a store without a password,"
            " or s3:// or gs:// with keys in the environment."
        )
