"""The exception for a user's mistake: a command prints it in one line and exits with code 2."""

import difflib
import pickle  # noqa: TID251  # only for its exception
import textwrap
from collections.abc import Iterable, Sequence

from shards_tools.redaction import redact

MAX_LISTED = 10  # names in one message
MAX_REASON = 160  # characters of another library's message


class Error(Exception):
    """A user's mistake. The message says in one line what is wrong, with the value, and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(redact(message))


class Unreadable(Error):
    """Data that cannot be read now: missing, damaged, out of reach, or without room for a copy.

    What read them can resume once they can be read again.
    """


def unknown(kind: str, name: str, known: Iterable[str], *, listing: str | None = None) -> Error:
    """Return the Error for a name that is not in `known`; it suggests the nearest one and lists at most ten.

    Args:
        kind: what the name stands for.
        name: the unknown one.
        known: the names that exist.
        listing: the command that lists them; the message names it instead of ten of them.

    >>> print(unknown("space", "transried", ["agw", "transreid"]))
    'transried' is not a known space. Did you mean 'transreid'? Known: agw, transreid.
    """
    names = sorted(known)
    close = nearest(name, names) if len(name) <= MAX_REASON else None
    name, names = name[:MAX_REASON], [one[:MAX_REASON] for one in names]
    hint = f" Did you mean {close!r}?" if close else ""
    if listing:
        return Error(f"{name!r} is not a known {kind}.{hint} List them with: {listing}.")
    return Error(f"{name!r} is not a known {kind}.{hint} Known: {listed(names)}.")


def listed(names: Sequence[str], most: int = MAX_LISTED) -> str:
    """Return the first names, and how many more there are.

    >>> listed(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def reason_of(failure: Exception) -> str:
    """Return why other code failed, in one short line to quote in an Error."""
    if isinstance(failure, pickle.UnpicklingError):  # torch suggests loading the file unsafely
        return "the file is damaged, or has objects that could run code"
    text = str(failure) if isinstance(failure, Error) else f"{type(failure).__name__}: {failure}"
    return textwrap.shorten(" ".join(redact(text).split()), MAX_REASON)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most similar to `name`, ignoring case, or None if none is similar."""
    by_lower_case = {known_name.lower(): known_name for known_name in known}
    found = difflib.get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.5)
    return by_lower_case[found[0]] if found else None
