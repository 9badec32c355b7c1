"""A mistake as people see it."""

from collections.abc import Callable
from typing import Any

import pytest

from shards_tools.errors import Error


def refusal(call: Callable[..., Any], *arguments: Any) -> str:
    """The one line of the Error that the call ends with."""
    with pytest.raises(Error) as mistake:
        call(*arguments)
    assert "\n" not in str(mistake.value)
    return str(mistake.value)
