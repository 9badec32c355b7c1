"""Lists the printed tables and their rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from platform.paper_tables.table import TABLES, PaperTable
from trainables.metric_names import COLUMNS


def list_tables() -> None:
    """Print one line per table to standard output, its name first."""
    for table in TABLES.values():
        rows = f"{len(table.recipes)} row{'s' * (len(table.recipes) != 1)}"
        print(f"{table.name:<14}{rows:<9}{', '.join(_spoken(table.metrics)):<18}{table.paper}")


def list_rows(table: PaperTable) -> None:
    """Print one line per row of a table to standard output: its name, its recipe and the printed numbers."""
    for row, recipe in table.recipes.items():
        printed = table.printed[row]
        numbers = (f"{_spoken([name])[0]} {printed[name]:.2f}" for name in table.metrics if name in printed)
        print(f"{row:<26}{recipe.name:<30}{'  '.join(numbers)}")


def describe_tables(tables: Sequence[PaperTable]) -> list[dict[str, Any]]:
    """Return the entries of `--list --json`."""
    return [
        {
            "name": table.name,
            "table": table.title,
            "paper": table.paper,
            "build": table.build,
            "metrics": table.metrics,
            "rows": [
                {"name": row, "recipe": recipe.name, "printed": table.printed[row]}
                for row, recipe in table.recipes.items()
            ],
        }
        for table in tables
    ]


def _spoken(names: Sequence[str]) -> list[str]:
    return [COLUMNS[name].removesuffix(" %") for name in names]
