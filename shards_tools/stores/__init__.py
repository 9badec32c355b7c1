"""Where shards lie: `open_store` picks the store by the address."""

from pathlib import Path

from shards_tools.stores.local import LocalStore
from shards_tools.stores.store import Store


def open_store(address: str | Path) -> Store:
    """The store at an address: a path, made absolute."""
    return LocalStore(Path(address).absolute())
