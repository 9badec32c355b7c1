"""Ends a search whose Ray has died. Ray itself says nothing, or waits a minute: the search would hang."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from shards_tools.command import say

SERVERS = {"raylet": "raylet", "gcs_server": "GCS"}  # name of the process -> what it is called
PERIOD_S = 0.2


@contextmanager
def watched_servers() -> Iterator[None]:
    """While the context lasts, the death of one of this process's Ray servers is one line, and the end with code 2.

    At once, as by a kill: any call to such a Ray may hang. What was running is left as after a kill, too.
    """
    servers = [child for child in psutil.Process().children() if child.name() in SERVERS]
    names = {server: SERVERS[server.name()] for server in servers}
    over = threading.Event()

    def watch() -> None:
        while not over.wait(PERIOD_S):
            for server, name in names.items():
                if not _lives(server):
                    say(
                        f"error: Ray's {name} on this machine (process {server.pid}) has died, as when memory runs "
                        "out. The same command goes on, and running trials at their last checkpoint."
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
