"""The papers' tables by name: their rows, the recipes of the rows, and the printed numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from shards_tools.command import command_line
from shards_tools.errors import unknown
from trainables.evaluation.metric_names import COLUMNS
from trainables.recipes import RECIPES, printed_numbers
from trainables.recipes.recipe import Recipe

PROGRAM = "platform.reproduce"


@dataclass(frozen=True)
class PaperTable:
    """One printed table."""

    name: str
    title: str  # as in recipes and printed.csv
    paper: str
    build: str  # the kind of `shards_tools build` that reads the paper's data
    protocol: str  # the split that the printed numbers are from

    @cached_property
    def recipes(self) -> dict[str, Recipe]:
        """The rows in printed order, each with its recipe at paper scale."""
        return {str(recipe.row): recipe for recipe in RECIPES.values() if recipe.table == self.title}

    @cached_property
    def printed(self) -> dict[str, dict[str, float]]:
        """Row -> metric -> printed number in percent."""
        return {
            row: {name: round(100 * value, 6) for name, value in printed_numbers(self.title, row).items()}
            for row in self.recipes
        }

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that the table prints, in the papers' order."""
        return tuple(name for name in COLUMNS if any(name in numbers for numbers in self.printed.values()))

    def recipe(self, row: str, scale: str) -> Recipe:
        """Return the recipe of a row: the paper's, or its tiny twin."""
        recipe = self.recipes[row]
        return recipe if scale == "paper" else RECIPES[f"{recipe.name}-tiny"]

    def select(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the rows with these names, in printed order; without names, all rows.

        Args:
            names: names of rows or of their recipes.

        Raises:
            Error: a name is neither; the message suggests the nearest row.
        """
        rows = {**{recipe.name: row for row, recipe in self.recipes.items()}, **{row: row for row in self.recipes}}
        for name in names:
            if name not in rows:
                listing = command_line(PROGRAM, self.name, "--list")
                raise unknown(f"row of {self.name}", name, self.recipes, listing=listing)
        chosen = {rows[name] for name in names}
        return tuple(row for row in self.recipes if row in chosen or not names)

    def as_json(self) -> dict[str, Any]:
        """Return the entry of `--list --json`."""
        rows = [
            {"name": row, "recipe": recipe.name, "printed": self.printed[row]} for row, recipe in self.recipes.items()
        ]
        return {
            "name": self.name,
            "table": self.title,
            "paper": self.paper,
            "build": self.build,
            "metrics": self.metrics,
            "rows": rows,
        }


LSASRD = "Li et al. 2022, arXiv 2204.14034"
DAFRE = "Rios et al. 2021, arXiv 2101.08674"
FIVE_FOLDS, TEST = "the mean of five folds", "the test split"
TABLES = {
    table.name: table
    for table in (
        PaperTable("lsasrd-4", "LSASRD Table 4", f"{LSASRD}, Table 4: AGW on LSASRD", "lsasrd", FIVE_FOLDS),
        PaperTable("lsasrd-5", "LSASRD Table 5", f"{LSASRD}, Table 5: TransReID on LSASRD", "lsasrd", FIVE_FOLDS),
        PaperTable("dafre-1", "DAF:re Table 1", f"{DAFRE}, Table 1: DAF:re at 128 px", "dafre", TEST),
        PaperTable("dafre-2", "DAF:re Table 2", f"{DAFRE}, Table 2: moeimouto at 128 px", "moeimouto", TEST),
        PaperTable("dafre-3", "DAF:re Table 3", f"{DAFRE}, Table 3: DAF:re at 224 px", "dafre", TEST),
        PaperTable("dafre-4", "DAF:re Table 4", f"{DAFRE}, Table 4: moeimouto at 224 px", "moeimouto", TEST),
        PaperTable("daf", "DAF:re section 3.1.1", f"{DAFRE}, section 3.1.1: the baseline of DAF", "daf", TEST),
        PaperTable(
            "icartoonface",
            "PaddleClas cartoon",
            "PaddleClas, cartoon character recognition: ResNet50 on iCartoonFace",
            "icartoonface",
            TEST,
        ),
        PaperTable(
            "animesion",
            "Animesion README",
            "Rios et al. 2022, README of Animesion: IFA and ViLT on DAFull",
            "dafull",
            TEST,
        ),
    )
}


def get_table(name: str) -> PaperTable:
    """Return the table called `name`.

    Raises:
        Error: there is none; the message suggests the nearest.
    """
    if name not in TABLES:
        raise unknown("table", name, TABLES, listing=command_line(PROGRAM, "--list"))
    return TABLES[name]


def reads_tags(recipe: Recipe) -> bool:
    """Whether the recipe trains on the images' tags."""
    return getattr(recipe, "text_tokens", 0) > 0
