"""Retry requests to a remote store that failed temporarily, with exponential backoff and a limit."""

import logging
import random
from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

from shards_tools.errors import Unreadable

log = logging.getLogger(__name__)

MAX_ASKS = 5
FIRST_WAIT_S = 0.5
MAX_SECONDS = 30.0  # from the first try to the last
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 20.0  # without a byte
MIN_BYTES_PER_S = 50_000  # a slower server counts as failed
STUMBLING = frozenset({408, 429, 500, 502, 503, 504})  # HTTP: the same request may succeed later

Answer = TypeVar("Answer")
_jitter = random.Random()  # separate, so that it does not change the random numbers of a training


class Stumble(Exception):
    """A temporary failure. `wait_s` is the wait that the server requests."""

    def __init__(self, what: str, wait_s: float = 0.0) -> None:
        super().__init__(what)
        self.wait_s = wait_s


class Unreachable(Unreadable):
    """A store that failed temporarily in every try: the same request may succeed later."""


def persist(place: str, ask: Callable[[], Answer], *, done: str = "read") -> Answer:
    """Call `ask` and return its result; retry after a Stumble, up to MAX_ASKS tries within MAX_SECONDS.

    Args:
        done: the participle in "cannot be read", for the message.

    Raises:
        Unreachable: every try failed.
    """
    began = monotonic()
    for number in range(1, MAX_ASKS + 1):
        try:
            return ask()
        except Stumble as stumble:
            wait_s = max(stumble.wait_s, FIRST_WAIT_S * 2 ** (number - 1) * _jitter.uniform(0.5, 1.5))
            seconds = monotonic() - began
            if number == MAX_ASKS or seconds + wait_s > MAX_SECONDS:
                tried = f"tried {number} times in {seconds:.0f} s" if number > 1 else "tried once"
                later = f"; the server asks to wait {stumble.wait_s:.0f} s" if stumble.wait_s else ""
                raise Unreachable(
                    f"{place} cannot be {done}: {stumble} ({tried}{later}). Try again later."
                ) from stumble
            log.info("%s: %s; retrying in %.1f s", place, stumble, wait_s)
        sleep(wait_s)
    raise AssertionError("the last try returns or raises")


def seconds_for(num_bytes: int) -> float:
    """Return the time limit of a transfer of `num_bytes`, in seconds."""
    return READ_TIMEOUT_S + num_bytes / MIN_BYTES_PER_S
