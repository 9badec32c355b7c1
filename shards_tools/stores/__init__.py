"""Stores of shards: `open_store` chooses the store by the address."""

from pathlib import Path

from shards_tools.stores.address import BUCKET_SCHEMES, parse_address
from shards_tools.stores.buckets import BucketStore
from shards_tools.stores.https import HttpStore
from shards_tools.stores.local import LocalStore
from shards_tools.stores.store import Store


def open_store(address: str | Path) -> Store:
    """Open a store: a folder, file:///PATH, https://HOST/PATH, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX.

    A path is made absolute. Plain http:// is allowed only for this machine and addresses of a private network. Any
    other text is an Error, so that none reaches a shell, or a library that guesses its meaning.
    """
    place = address if isinstance(address, Path) else parse_address(address)
    if isinstance(place, Path):
        return LocalStore(place.absolute())
    return BucketStore(place) if place.scheme in BUCKET_SCHEMES else HttpStore(place)
