"""Factories that users register: which arguments they take, checked when they are registered."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from shards_tools.errors import Error
from shards_tools.registry import resolve


def check_factory(kind: str, name: str, factory: Callable[..., Any], arguments: Sequence[str]) -> None:
    """Refuse a factory that cannot be called with some of these arguments.

    Args:
        kind: the key of a recipe that names such factories, such as "backbone", for errors.
        name: the name that it is registered under, for errors.
        factory: may have one parameter of any name, which receives the recipe, or several of those in `arguments`.
        arguments: names of the arguments that `call_factory` offers.

    Raises:
        Error: it is not callable, or has other parameters.
    """
    if not callable(factory):
        raise Error(f"{kind} {name!r}: {factory!r} is not a function. Register a function that returns it.")
    required = _required(factory)
    if len(required) > 1 and not set(required) <= set(arguments):
        given = ", ".join(required)
        raise Error(f"{kind} {name!r}: its factory takes ({given}). Let it take (recipe) or ({', '.join(arguments)}).")


def call_factory(factory: Callable[..., Any] | str, **arguments: Any) -> Any:
    """Call a factory with those of the arguments that it names; a single parameter of any name gets the recipe.

    Args:
        factory: or "module:function", which is imported.
    """
    if isinstance(factory, str):
        factory = resolve(factory)
    assert callable(factory)
    required = _required(factory)
    if len(required) == 1 and required[0] not in arguments:
        return factory(arguments["recipe"])
    named = inspect.signature(factory).parameters
    return factory(**{name: value for name, value in arguments.items() if name in named})


def _required(factory: Callable[..., Any]) -> list[str]:
    """Return the names of the parameters without a default."""
    parameters = inspect.signature(factory).parameters.values()
    open_ended = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in parameters if each.default is each.empty and each.kind not in open_ended]
