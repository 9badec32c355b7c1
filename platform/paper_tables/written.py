"""A reproduced table with its notes, written as Markdown, CSV and LaTeX."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from platform.paper_tables.reproduction import Reproduction
from platform.paper_tables.results import Result
from platform.paper_tables.table import PaperTable
from shards_tools.errors import Error
from shards_tools.folders import try_to_write
from shards_tools.plain_text import csv_text, markdown_text
from trainables.evaluation.metric_names import COLUMNS

NOTHING = "\N{EN DASH}"  # for a cell without a value
HEADINGS = ("row", "metric", "mean", "std", "printed", "difference", "chance", "trainings")
LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    NOTHING: "--",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


@dataclass(frozen=True, kw_only=True)
class ReproducedTable:
    """A table as it was trained here, next to the printed numbers."""

    of: PaperTable
    scale: str
    notes: Sequence[str]
    results: Sequence[Result]

    @property
    def title(self) -> str:
        """The heading of the table."""
        return f"{self.of.title}, reproduced at {self.scale} scale"


def reproduced_table(reproduction: Reproduction, results: Sequence[Result]) -> ReproducedTable:
    """Return the table with its notes."""
    scale = reproduction.search.setup.scale
    return ReproducedTable(of=reproduction.table, scale=scale, notes=notes_on(reproduction), results=results)


def notes_on(reproduction: Reproduction) -> list[str]:
    """Return the notes under the table: split, protocol, scale and epochs."""
    setup, folds, table = reproduction.search.setup, reproduction.search.protocol.folds, reproduction.table
    split = "the validation split" if reproduction.split == "val" else "the test split"
    if setup.manifest.num_folds > 1:
        split += f" of folds 0 to {folds - 1}" if folds > 1 else " of fold 0"
    each = f"{numbered(folds, 'fold')} x {numbered(reproduction.seeds, 'seed')}"
    notes = [
        f"Numbers are in percent. mean and std are over the trainings of a row ({each}); std divides by n - 1.",
        f"mean: {split} of {setup.data}, at {setup.scale} scale.",
        f"printed: {table.paper}; {table.protocol} of the paper's data.",
    ]
    if setup.scale == "tiny":
        notes.append(
            "Tiny scale trains small networks for a few epochs. Do not compare these numbers with the printed ones."
        )
    own = sorted({recipe.epochs for recipe in reproduction.recipes.values()})
    if setup.epochs and own != [setup.epochs]:
        recipes = " or ".join(map(str, own))
        notes.append(f"Trained for {numbered(setup.epochs, 'epoch')}; the recipes have {recipes}.")
    return notes


def numbered(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is 1."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def make_folder(out: Path) -> None:
    """Create the folder of --out before any training starts.

    Raises:
        Error: it cannot be created, or this user may not write to it.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        try_to_write(out)
    except OSError as failure:
        raise Error(
            f"--out {out} cannot be written: {failure.strerror}. Give a folder that this user may write to."
        ) from None


def write_table(table: ReproducedTable, out: Path) -> list[Path]:
    """Write the table to the folder `out` and return the files; each is written completely or not at all."""
    files = []
    for ending, text in {"md": as_markdown(table), "csv": as_csv(table), "tex": as_latex(table)}.items():
        file = out / f"{table.of.name}.{ending}"
        partial = file.with_suffix(f".{ending}.partial")
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, file)
        files.append(file)
    return files


def cells_of(result: Result) -> list[str]:
    """Return the cells of one line of the table, in the order of HEADINGS."""
    heading = COLUMNS[result.metric].removesuffix(" %")
    signed = "" if math.isnan(result.difference) else f"{result.difference:+.2f}"
    numbers = (_number(value) for value in (result.mean, result.std, result.printed))
    return [result.row, heading, *numbers, signed or NOTHING, _number(result.chance), result.status]


def as_markdown(table: ReproducedTable) -> str:
    """Return the table as Markdown, with its heading and notes."""
    lines = [
        f"# {markdown_text(table.title)}",
        "",
        f"| {' | '.join(HEADINGS)} |",
        f"|---|---|{'---:|' * (len(HEADINGS) - 2)}",
        *(f"| {' | '.join(map(markdown_text, cells_of(result)))} |" for result in table.results),
        "",
        *(f"{markdown_text(note)}  " for note in table.notes),
    ]
    return "\n".join(lines).rstrip() + "\n"


def as_csv(table: ReproducedTable) -> str:
    """Return the table as CSV: one line per row and metric, with all digits; unknown numbers are empty."""
    kept = ("name", "recipe", "metric", "printed", "mean", "std", "difference", "chance")
    rows = []
    for result in table.results:
        entry = result.as_json()
        cells = ["" if _is_unknown(entry[key]) else entry[key] for key in kept]
        values = " ".join(map(repr, result.values))
        counts = entry["trainings"].values()
        rows.append([table.of.name, table.scale, *cells, *counts, values])
    return csv_text(["table", "scale", *kept, "wanted", "complete", "failed", "values"], rows)


def as_latex(table: ReproducedTable) -> str:
    """Return the table as LaTeX for the package booktabs, with the notes in the caption."""
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex('. '.join([table.title, ' '.join(table.notes)]))}}}",
        rf"\label{{tab:{table.of.name}}}",
        rf"\begin{{tabular}}{{ll{'r' * (len(HEADINGS) - 2)}}}",
        r"\toprule",
        rf"{' & '.join(HEADINGS)} \\",
    ]
    above = None
    for result in table.results:
        cells = cells_of(result)
        if result.row != above:
            lines.append(r"\midrule")
        else:
            cells[0] = ""
        above = result.row
        lines.append(rf"{' & '.join(map(_latex, cells))} \\")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _number(value: float | None) -> str:
    return NOTHING if _is_unknown(value) else f"{value:.2f}"


def _is_unknown(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _latex(text: str) -> str:
    return "".join(LATEX_SPECIAL.get(sign, sign) for sign in text)
