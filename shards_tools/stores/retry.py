"""Asking again where a remote store may only have stumbled: after waits that double, and with an end."""

import logging
import random
from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

from shards_tools.errors import Error

log = logging.getLogger(__name__)

MAX_ASKS = 5
FIRST_WAIT_S = 0.5
MAX_SECONDS = 30.0  # from the first time of asking to the last
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 20.0  # without a byte
MIN_BYTES_PER_S = 50_000  # a server that dribbles is one that stumbles
STUMBLING = frozenset({408, 429, 500, 502, 503, 504})  # HTTP: the same request may do better later

Answer = TypeVar("Answer")
_jitter = random.Random()  # its own, so that the random numbers of a training stay what they were


class Stumble(Exception):
    """A failure that may pass. `wait_s` is how long the server asks to be left alone."""

    def __init__(self, what: str, wait_s: float = 0.0) -> None:
        super().__init__(what)
        self.wait_s = wait_s


class Unreachable(Error):
    """A store that only stumbled when it was last asked: later it may do what was asked."""


def persist(place: str, ask: Callable[[], Answer], *, done: str = "read") -> Answer:
    """What `ask` gives, asked up to MAX_ASKS times within MAX_SECONDS while it raises Stumble; then Unreachable.

    Args:
        done: what was to be done with the place, for the message.
    """
    began = monotonic()
    for number in range(1, MAX_ASKS + 1):
        try:
            return ask()
        except Stumble as stumble:
            wait_s = max(stumble.wait_s, FIRST_WAIT_S * 2 ** (number - 1) * _jitter.uniform(0.5, 1.5))
            seconds = monotonic() - began
            if number == MAX_ASKS or seconds + wait_s > MAX_SECONDS:
                tried = f"asked {number} times in {seconds:.0f} s" if number > 1 else "asked once"
                later = f", and it asks to wait {stumble.wait_s:.0f} s" if stumble.wait_s else ""
                raise Unreachable(
                    f"{place} cannot be {done}: {stumble} ({tried}{later}). Try again later."
                ) from stumble
            log.info("%s: %s; asking again in %.1f s", place, stumble, wait_s)
        sleep(wait_s)
    raise AssertionError("the last time of asking returns or raises")


def seconds_for(num_bytes: int) -> float:
    """How long one answer of that many bytes may take in all."""
    return READ_TIMEOUT_S + num_bytes / MIN_BYTES_PER_S
