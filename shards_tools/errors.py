"""The one exception for a user's mistake: it is shown as one line and ends a command with exit code 2."""

import difflib
from collections.abc import Iterable


class Error(Exception):
    """A user's mistake. The message names the value, the place and the way out, in one line."""


def unknown(kind: str, name: str, known: Iterable[str]) -> Error:
    """The error for a name that is none of `known`, with the nearest of them.

    >>> print(unknown("space", "transried", ["agw", "transreid"]))
    'transried' is not a known space. Did you mean 'transreid'? Known: agw, transreid.
    """
    names = sorted(known)
    close = nearest(name, names)
    hint = f" Did you mean {close!r}?" if close else ""
    return Error(f"{name!r} is not a known {kind}.{hint} Known: {', '.join(names)}.")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like `name`, whatever their case; None where none is."""
    by_lower_case = {known_name.lower(): known_name for known_name in known}
    found = difflib.get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.5)
    return by_lower_case[found[0]] if found else None
