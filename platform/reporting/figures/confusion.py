"""The confusion matrix: the correct work of each query against the work of its first answer.

Axes: S shown works.
"""

from dataclasses import dataclass
from typing import Any

import matplotlib.figure
import numpy as np

from platform.reporting.figures.answers import Answers
from platform.reporting.figures.figure import Figure
from platform.reporting.figures.look import INTERACTIVE, canvas
from platform.reporting.figures.pictures import plain, shortened
from platform.reporting.figures.trials import escaped

MOST_SHOWN = 30
NAME_LENGTH = 20  # characters
MOST_WITH_NUMBERS = 12  # works; with more, the squares are too small for numbers
OTHERS = "others"


@dataclass(frozen=True)
class Confusion:
    """The shown works, those with the most queries first, and the counts of their answers."""

    works_S: np.ndarray
    counts: np.ndarray  # [S, S], or [S, S + 1] with a last column for answers that are not shown
    num_works: int  # shown or not

    @property
    def fractions(self) -> np.ndarray:
        """The counts divided by the number of queries of each row."""
        shares: np.ndarray = self.counts / self.counts.sum(axis=1, keepdims=True)
        return shares


def plot_confusion(answers: Answers) -> Figure:
    """Plot the matrix, with a row per correct work and fractions of its queries."""
    found = confusion(answers)
    rows = [answers.named(work) for work in found.works_S.tolist()]
    columns = [*rows, *([OTHERS] if found.counts.shape[1] > len(rows) else [])]
    what = answers.kind
    return Figure(
        name="confusion",
        title=f"Confusion of {answers.kinds}",
        caption=_describe(answers, found, rows, columns),
        plot=_plot(found, rows, columns, what),
        interactive=_plot_interactive(found, rows, columns, what),
        columns=("right", "answered", "queries", "fraction_of_right"),
        rows=[
            (right, answered, int(found.counts[row, column]), float(found.fractions[row, column]))
            for row, right in enumerate(rows)
            for column, answered in enumerate(columns)
            if found.counts[row, column]
        ],
    )


def confusion(answers: Answers) -> Confusion:
    """Count the queries by correct and answered work; of more than 30 works, use those involved in the most errors."""
    works = np.unique(answers.works_Q)
    num_works = len(answers.asked.evaluation.manifest.works)
    wrong = ~answers.is_right_Q
    mistakes = np.bincount(answers.works_Q[wrong], minlength=num_works)
    mistakes += np.bincount(answers.answered_Q[wrong], minlength=num_works)
    shown = works[np.argsort(-mistakes[works], kind="stable")[:MOST_SHOWN]]
    sizes = np.bincount(answers.works_Q)[shown]
    shown = shown[np.lexsort((shown, -sizes))]
    position = np.full(num_works, len(shown))
    position[shown] = np.arange(len(shown))
    counts = np.zeros((len(shown) + 1, len(shown) + 1), np.int64)
    np.add.at(counts, (position[answers.works_Q], position[answers.answered_Q]), 1)
    has_others = counts[:-1, -1].any()
    return Confusion(shown, counts[:-1] if has_others else counts[:-1, :-1], len(works))


def _describe(answers: Answers, found: Confusion, rows: list[str], columns: list[str]) -> str:
    accuracy = 100 * answers.is_right_Q.mean()
    text = f"The first answer is correct for {accuracy:.1f} % of {len(answers.queries_Q):,} queries."
    wrong = found.counts[:, : len(rows)].copy()
    np.fill_diagonal(wrong, 0)
    if wrong.any():
        row, column = np.unravel_index(wrong.argmax(), wrong.shape)
        share = f"{wrong[row, column]} of {found.counts[row].sum()} queries"
        text += f" The most frequent error: {rows[row]} is taken for {columns[column]} ({share})."
    if found.num_works > len(rows):
        text += f" Shown are the {len(rows)} of {found.num_works:,} {answers.kinds} involved in the most errors."
    return text


def _plot(found: Confusion, rows: list[str], columns: list[str], what: str) -> matplotlib.figure.Figure:
    size = 7.0 if len(rows) <= MOST_WITH_NUMBERS else 5.5  # points
    side = float(np.clip(0.35 * len(rows), 2.0, 4.9))
    room = 0.3 + size / 110 * max(len(shortened(name, NAME_LENGTH)) for name in columns)  # inches
    with canvas(side + room + 0.8, side + room) as page:
        axes = page.add_subplot()
        # The page is sized for square cells; `auto` lets the axes shrink to leave space for the labels.
        image = axes.imshow(100 * found.fractions, cmap="Blues", vmin=0, vmax=100, aspect="auto")
        names = [plain(shortened(name, NAME_LENGTH)) for name in columns]
        axes.set_xticks(range(len(columns)), names, rotation=90, size=size)
        axes.set_yticks(range(len(rows)), names[: len(rows)], size=size)
        axes.set(xlabel=f"{what} of the first answer", ylabel=f"correct {what}")
        axes.spines[:].set_visible(True)
        axes.tick_params(length=2)
        if len(rows) <= MOST_WITH_NUMBERS:
            for (row, column), fraction in np.ndenumerate(found.fractions):
                color = "#ffffff" if fraction > 0.5 else "#333333"
                axes.text(column, row, f"{100 * fraction:.0f}", ha="center", va="center", color=color, size=6.5)
        bar = page.colorbar(image, ax=axes, fraction=0.04, pad=0.02, label=f"queries of the correct {what}, %")
        bar.outline.set_visible(False)
    return page


def _plot_interactive(found: Confusion, rows: list[str], columns: list[str], what: str) -> Any:
    import plotly.graph_objects as go

    template = f"correct {what} %{{y}}<br>answered %{{x}}<br>%{{z:.1f}} %, %{{customdata}} queries<extra></extra>"
    squares = go.Heatmap(
        x=[escaped(name) for name in columns],
        y=[escaped(name) for name in rows],
        z=100 * found.fractions,
        customdata=found.counts,
        zmin=0,
        zmax=100,
        colorscale="Blues",
        colorbar={"ticksuffix": " %"},
        hovertemplate=template,
    )
    figure = go.Figure(squares, INTERACTIVE)
    ticks = {"type": "category", "dtick": 1, "tickfont": {"size": 10}}
    figure.update_xaxes(title=f"{what} of the first answer", tickangle=-90, **ticks)
    figure.update_yaxes(title=f"correct {what}", autorange="reversed", **ticks)
    figure.update_layout(height=280 + 16 * len(rows))
    return figure
