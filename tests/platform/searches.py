"""What tests make of a resolved search: changed copies, and the parts that take some of its values."""

from dataclasses import fields, is_dataclass, replace
from typing import Any

import optuna

from platform.preflight.suggestions import Suggestions
from platform.resolved_search import ResolvedSearch
from platform.samplers.samplers import reseed


def changed(search: ResolvedSearch, **values: Any) -> ResolvedSearch:
    """The search with other values of some fields, whichever of its parts they belong to."""
    own = {field.name: getattr(search, field.name) for field in fields(search)}
    parts = {name: part for name, part in own.items() if is_dataclass(part) and not isinstance(part, type)}
    changes: dict[str, Any] = {name: values.pop(name) for name in list(values) if name in own}
    for name, part in parts.items():
        theirs = {field.name: values.pop(field.name) for field in fields(part) if field.name in values}
        changes |= {name: replace(part, **theirs)} if theirs else {}
    assert not values, f"no part has {', '.join(values)}"
    return replace(search, **changes)


def reseed_for(study: optuna.Study, search: ResolvedSearch) -> None:
    """Seed the sampler for the study's next trial."""
    setup = search.setup
    reseed(study, search.method.sampler, space=setup.space, rungs=setup.rungs, seed=setup.seed)


def met(study: optuna.Study, search: ResolvedSearch) -> str | None:
    """The limit of the search's budget that ends it, in words."""
    return search.budget.met(study, search.resources.gpus_per_trial)


def suggestions_of(search: ResolvedSearch) -> Suggestions:
    """Samples of the search's space."""
    return Suggestions(search.setup, search.goal.at_most)
