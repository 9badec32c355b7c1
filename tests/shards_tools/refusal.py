"""What the user reads about a mistake: the message of an Error, or the reason why an image is left out."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from shards_tools.build import build
from shards_tools.errors import Error
from shards_tools.problems import BadPictures, Problem
from shards_tools.sources.source import Source


def refusal(call: Callable[..., Any], *arguments: Any) -> str:
    """Return the one-line message of the Error that the call raises."""
    with pytest.raises(Error) as mistake:
        call(*arguments)
    assert "\n" not in str(mistake.value)
    return str(mistake.value)


def complaint_about(scan: Callable[[Path], Source], folder: Path) -> str:
    """Return the message of the Error that the scan raises, or the reason why its one missing image is missing."""
    try:
        (missing,) = scan(folder).missing
    except Error as mistake:
        return str(mistake)
    return missing.reason


def bad_pictures(source: Source, out: Path) -> Sequence[Problem]:
    """Return the images at which a build of the source stops."""
    with pytest.raises(BadPictures) as mistake:
        build(source, out)
    assert not out.exists()
    return mistake.value.problems
