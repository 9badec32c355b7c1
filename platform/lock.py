"""One driver per study: a lock that dies with its process."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shards_tools.errors import Error


@contextmanager
def only_driver(path: Path, study: str) -> Iterator[None]:
    """Hold the lock file `path`; Error where another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise Error(
                f"Study {study} is being run by {holder}. Wait for it, stop it, or name another with --study."
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield
