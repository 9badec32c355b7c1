"""The numbers that the papers print for their rows."""

import csv
from importlib.resources import files


def printed_numbers(table: str, row: str) -> dict[str, float]:
    """Return metric -> fraction, by the names that evaluations use; empty if the table has no such row.

    LSASRD's numbers are means of five folds, PaddleClas's is recall@1 on a gallery, and the others are on the test
    split.
    """
    with files("trainables.recipes").joinpath("printed.csv").open(encoding="utf-8") as file:
        own = next((entry for entry in csv.DictReader(file) if (entry["table"], entry["row"]) == (table, row)), {})
    return {name: float(text) / 100 for name, text in own.items() if text and name not in ("table", "row")}
