"""The accuracy of each class or work against its number of images.

Axes: M works.
"""

from dataclasses import dataclass
from typing import Any

import matplotlib.figure
import matplotlib.ticker
import numpy as np

from platform.reporting.figures.answers import Answers
from platform.reporting.figures.figure import Figure
from platform.reporting.figures.look import BLUE, COLUMN_WIDTH, INTERACTIVE, ORANGE, canvas
from platform.reporting.figures.trials import escaped
from shards_tools.errors import Error
from trainables.metrics.classification import SIZES

BINS_OF_WORKS = 3  # with the same number of works each, for retrieval models
FEWEST_IN_A_BIN = 3


@dataclass(frozen=True)
class Bin:
    """The works whose numbers of images are in a range, and the accuracy over all their queries."""

    name: str  # few, medium or many; empty if the bins are thirds of the works
    least: int
    most: int
    accuracy: float

    def __str__(self) -> str:
        sizes = f"{self.least:,} to {self.most:,}" if self.least < self.most else f"{self.least:,}"
        return f"{self.name} ({sizes})" if self.name else sizes


@dataclass(frozen=True)
class Sizes:
    """The works that have queries, with their numbers of images and their accuracy."""

    works_M: np.ndarray
    images_M: np.ndarray  # training images, or gallery images if the works were not trained on
    queries_M: np.ndarray
    accuracy_M: np.ndarray  # R1, or top-1
    are_trained: bool
    bins: tuple[Bin, ...]


def plot_class_size(answers: Answers) -> Figure:
    """Plot a point for each work or class, and the mean accuracy of each range of sizes.

    Raises:
        Error: all works have the same number of images.
    """
    found, ranks = class_sizes(answers), answers.asked.evaluation.ranks
    if np.ptp(found.images_M) == 0:
        raise Error(f"all {answers.kinds} have {found.images_M[0]} images.")
    axis = f"{'training' if found.are_trained else 'gallery'} images of the {answers.kind}"
    names = [answers.named(work) for work in found.works_M.tolist()]
    bins = ", ".join(f"{bin_}: {100 * bin_.accuracy:.1f} %" for bin_ in found.bins)
    return Figure(
        name="class_size",
        title="Accuracy by number of images",
        caption=f"{'R1' if ranks else 'Top-1'} by {axis}, {len(names):,} in total{f'; {bins}' if bins else ''}.",
        plot=_plot(found, axis, "R1" if ranks else "top-1"),
        interactive=_plot_interactive(found, axis, "R1" if ranks else "top-1", names),
        columns=("work", "images", "queries", "accuracy"),
        rows=list(
            zip(names, found.images_M.tolist(), found.queries_M.tolist(), found.accuracy_M.tolist(), strict=True)
        ),
    )


def class_sizes(answers: Answers) -> Sizes:
    """Return the number of images and the accuracy of every work that has a query."""
    evaluation = answers.asked.evaluation
    manifest = evaluation.manifest
    train = manifest.work[manifest.split(evaluation.fold).train]
    works_M, of_work_Q, queries_M = np.unique(answers.works_Q, return_inverse=True, return_counts=True)
    are_trained = bool(np.isin(works_M, train).all())
    counted = train if are_trained else manifest.work[evaluation.gallery]
    images_M = np.bincount(counted, minlength=len(manifest.works))[works_M]
    right_M = np.bincount(of_work_Q, answers.is_right_Q)
    bins = []
    for name, (least, most) in _bounds(images_M, evaluation.ranks):
        inside = (images_M >= least) & (images_M <= most)
        if inside.any():
            accuracy = float(right_M[inside].sum() / queries_M[inside].sum())
            bins.append(Bin(name, int(images_M[inside].min()), int(images_M[inside].max()), accuracy))
    return Sizes(works_M, images_M, queries_M, right_M / queries_M, are_trained, tuple(bins))


def _bounds(images_M: np.ndarray, ranks: bool) -> list[tuple[str, tuple[float, float]]]:
    """Return the names and bounds of the bins: few, medium and many for classes, thirds of the works otherwise."""
    if not ranks:
        return list(SIZES.items())
    if len(images_M) < BINS_OF_WORKS * FEWEST_IN_A_BIN:
        return []
    starts = np.unique([part[0] for part in np.array_split(np.sort(images_M), BINS_OF_WORKS)])
    ends = [*(starts[1:] - 1), np.inf]
    return [("", bounds) for bounds in zip(starts, ends, strict=True)]


def _plot(found: Sizes, axis: str, measure: str) -> matplotlib.figure.Figure:
    with canvas(COLUMN_WIDTH, 2.6) as page:
        axes = page.add_subplot()
        alpha = float(np.clip(40 / len(found.works_M), 0.25, 0.8))
        axes.scatter(
            found.images_M, 100 * found.accuracy_M, s=14, color=BLUE, alpha=alpha, linewidths=0, clip_on=False, zorder=3
        )
        for bin_ in found.bins:
            ends, height = (bin_.least * 0.95, bin_.most * 1.05), 100 * bin_.accuracy
            axes.plot(ends, (height, height), color=ORANGE, linewidth=2.5, solid_capstyle="round", zorder=4)
            # Above the axes, so that it covers no point.
            text, middle = f"{bin_.name} {height:.0f} %".strip(), (bin_.least * bin_.most) ** 0.5
            axes.text(middle, 1.02, text, transform=axes.get_xaxis_transform(), ha="center", va="bottom", size=7)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        axes.set(xlabel=axis, ylabel=f"{measure}, %", ylim=(-3, 103))
    return page


def _plot_interactive(found: Sizes, axis: str, measure: str, names: list[str]) -> Any:
    import plotly.graph_objects as go

    points = go.Scatter(
        x=found.images_M,
        y=100 * found.accuracy_M,
        text=[escaped(name) for name in names],
        customdata=found.queries_M,
        mode="markers",
        marker={"color": BLUE, "opacity": 0.6},
        showlegend=False,
        hovertemplate="%{text}<br>%{y:.1f} % of %{customdata} queries<br>%{x} images<extra></extra>",
    )
    figure = go.Figure(points, INTERACTIVE)
    for bin_ in found.bins:
        figure.add_scatter(
            x=[bin_.least, bin_.most],
            y=[100 * bin_.accuracy] * 2,
            mode="lines+markers",
            line={"color": ORANGE, "width": 4},
            marker={"symbol": "square", "size": 7},
            showlegend=False,
            hovertemplate=f"{bin_} images: %{{y:.1f}} %<extra></extra>",
        )
    ticks = [digit * 10**power for power in range(6) for digit in (1, 2, 5)]
    figure.update_xaxes(title=axis, type="log", tickvals=ticks)
    figure.update_yaxes(title=f"{measure}, %", range=[0, 102])
    return figure
