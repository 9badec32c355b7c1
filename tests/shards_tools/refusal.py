"""The message of an Error, as the user sees it."""

from collections.abc import Callable
from typing import Any

import pytest

from shards_tools.errors import Error


def refusal(call: Callable[..., Any], *arguments: Any) -> str:
    """Return the one-line message of the Error that the call raises."""
    with pytest.raises(Error) as mistake:
        call(*arguments)
    assert "\n" not in str(mistake.value)
    return str(mistake.value)
