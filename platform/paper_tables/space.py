"""The search space of a printed table: its trials are the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optuna.distributions import CategoricalDistribution, distribution_to_json

from platform.paper_tables.table import PaperTable, reads_tags
from platform.spaces.loading import Space

ROW = "row"  # the only parameter


def space_of(table: PaperTable, scale: str, rows: Sequence[str] = ()) -> Space:
    """Return the space whose trials are rows of the table.

    Args:
        table: the table.
        scale: "tiny" or "paper".
        rows: the rows that `suggest` chooses from; empty: all.
    """
    names = {row: table.recipe(row, scale).name for row in table.recipes}
    choices, offered = tuple(table.recipes), tuple(rows or table.recipes)

    def suggest(trial: Any) -> dict[str, Any]:
        return {"recipe": names[trial.suggest_categorical(ROW, offered)]}

    recipes = [table.recipe(row, scale) for row in offered]
    return Space(
        name=table.name,
        suggest=suggest,
        baselines={},
        distributions={ROW: distribution_to_json(CategoricalDistribution(choices))},
        about=table.title,
        longest_epochs=max(recipe.epochs for recipe in recipes),
        longest_warmup=max(recipe.warmup_epochs for recipe in recipes),
        reads_tags=any(reads_tags(recipe) for recipe in recipes),
        kind="Table",
        shrink="Choose smaller rows with --rows",
    )
