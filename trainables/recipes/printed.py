"""The numbers that the papers print for their rows."""

import csv
from importlib.resources import files


def printed_numbers(table: str, row: str) -> dict[str, float]:
    """Metric -> fraction, by the names that evaluations use; empty where no table has such a row.

    Of LSASRD's tables means of five folds; of PaddleClas recall@1 of a gallery, and of the others the test split.
    """
    with files("trainables.recipes").joinpath("printed.csv").open(encoding="utf-8") as file:
        own = next((entry for entry in csv.DictReader(file) if (entry["table"], entry["row"]) == (table, row)), {})
    return {name: float(text) / 100 for name, text in own.items() if text and name not in ("table", "row")}
