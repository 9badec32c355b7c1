"""Writes a reproduced table as Markdown, CSV and LaTeX, with its notes."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Sequence
from pathlib import Path

from platform.paper_tables.options import TablePlan
from platform.paper_tables.results import Result
from shards_tools.errors import Error
from trainables.metric_names import COLUMNS

NOTHING = "\N{EN DASH}"  # for a cell without a value
HEADINGS = ("row", "metric", "mean", "std", "printed", "difference", "chance", "trainings")
LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    NOTHING: "--",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def make_folder(out: Path) -> None:
    """Create the folder of --out before any training starts.

    Raises:
        Error: it cannot be created.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        raise Error(
            f"--out {out} cannot be written: {failure.strerror}. Give a folder that this user may write to."
        ) from None


def write_table(table_plan: TablePlan, results: Sequence[Result]) -> list[Path]:
    """Write the table to its folder and return the files; each file is written completely or not at all."""
    texts = {
        "md": as_markdown(table_plan, results),
        "csv": as_csv(table_plan, results),
        "tex": as_latex(table_plan, results),
    }
    files = []
    for ending, text in texts.items():
        file = table_plan.out / f"{table_plan.table.name}.{ending}"
        partial = file.with_suffix(f".{ending}.partial")
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, file)
        files.append(file)
    return files


def title_of(table_plan: TablePlan) -> str:
    """Return the heading of the table."""
    return f"{table_plan.table.title}, reproduced at {table_plan.search.setup.scale} scale"


def notes_on(table_plan: TablePlan) -> list[str]:
    """Return the notes under the table: split, protocol, scale and epochs."""
    setup, folds, table = table_plan.search.setup, table_plan.search.protocol.folds, table_plan.table
    split = "the validation split" if table_plan.split == "val" else "the test split"
    if setup.manifest.num_folds > 1:
        split += f" of folds 0 to {folds - 1}" if folds > 1 else " of fold 0"
    each = f"{numbered(folds, 'fold')} x {numbered(table_plan.seeds, 'seed')}"
    notes = [
        f"Numbers are in percent. mean and std are over the trainings of a row ({each}); std divides by n - 1.",
        f"mean: {split} of {setup.data}, at {setup.scale} scale.",
        f"printed: {table.paper}; {table.protocol} of the paper's data.",
    ]
    if setup.scale == "tiny":
        notes.append(
            "Tiny scale trains small networks for a few epochs. Do not compare these numbers with the printed ones."
        )
    if setup.epochs:
        own = sorted({table.recipe(row, setup.scale).epochs for row in table_plan.rows})
        if own != [setup.epochs]:
            recipes = " or ".join(map(str, own))
            notes.append(f"Trained for {numbered(setup.epochs, 'epoch')}; the recipes have {recipes}.")
    return notes


def numbered(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is 1."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def cells_of(result: Result) -> list[str]:
    """Return the cells of one line of the table, in the order of HEADINGS."""
    heading = COLUMNS[result.metric].removesuffix(" %")
    signed = "" if math.isnan(result.difference) else f"{result.difference:+.2f}"
    numbers = (_number(value) for value in (result.mean, result.std, result.printed))
    return [result.row, heading, *numbers, signed or NOTHING, _number(result.chance), result.status]


def as_markdown(table_plan: TablePlan, results: Sequence[Result]) -> str:
    """Return the table as Markdown, with its heading and notes."""
    lines = [
        f"# {title_of(table_plan)}",
        "",
        f"| {' | '.join(HEADINGS)} |",
        f"|---|---|{'---:|' * (len(HEADINGS) - 2)}",
        *(f"| {' | '.join(cells_of(result))} |" for result in results),
        "",
        *(f"{note}  " for note in notes_on(table_plan)),
    ]
    return "\n".join(lines).rstrip() + "\n"


def as_csv(table_plan: TablePlan, results: Sequence[Result]) -> str:
    """Return the table as CSV: one line per row and metric, with all digits; unknown numbers are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    kept = ("name", "recipe", "metric", "printed", "mean", "std", "difference", "chance")
    writer.writerow(["table", "scale", *kept, "wanted", "complete", "failed", "values"])
    for result in results:
        entry = result.as_json()
        cells = ["" if _is_unknown(entry[key]) else entry[key] for key in kept]
        values = " ".join(map(repr, result.values))
        counts = entry["trainings"].values()
        writer.writerow([table_plan.table.name, table_plan.search.setup.scale, *cells, *counts, values])
    return text.getvalue()


def as_latex(table_plan: TablePlan, results: Sequence[Result]) -> str:
    """Return the table as LaTeX for the package booktabs, with the notes in the caption."""
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex('. '.join([title_of(table_plan), ' '.join(notes_on(table_plan))]))}}}",
        rf"\label{{tab:{table_plan.table.name}}}",
        rf"\begin{{tabular}}{{ll{'r' * (len(HEADINGS) - 2)}}}",
        r"\toprule",
        rf"{' & '.join(HEADINGS)} \\",
    ]
    above = None
    for result in results:
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
