"""Ends a search if one of Ray's servers dies. Without this the search would hang, because Ray reports nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from shards_tools.command import say

SERVERS = {"raylet": "raylet", "gcs_server": "GCS"}  # name of the process -> name in messages
PERIOD_S = 0.2


@contextmanager
def watched_servers() -> Iterator[None]:
    """If one of this process's Ray servers dies inside the context, print one line and exit with code 2.

    The process exits without cleanup, because any call to Ray may hang now. Running trials are left as after a kill.
    """
    servers = [child for child in psutil.Process().children() if child.name() in SERVERS]
    names = {server: SERVERS[server.name()] for server in servers}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(PERIOD_S):
            for server, name in names.items():
                if not _lives(server):
                    say(
                        f"error: Ray's {name} on this machine (process {server.pid}) has died; the memory may be full."
                        " Run the same command again; running trials resume from their last checkpoint."
                    )
                    os._exit(2)

    watcher = threading.Thread(target=watch, name="ray servers", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
