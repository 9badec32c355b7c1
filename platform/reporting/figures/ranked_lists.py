"""The first gallery images of some queries: the best, the median, the worst and random ones."""

from dataclasses import dataclass

import matplotlib.figure
import numpy as np

from platform.reporting.figures.answers import Answers, Rankings
from platform.reporting.figures.figure import Figure
from platform.reporting.figures.look import FULL_WIDTH, canvas
from platform.reporting.figures.pictures import mark, names_of, picture, show
from shards_tools.errors import Error
from shards_tools.manifest import Manifest

NUM_RANDOM = 3  # queries in addition to the best, the median and the worst
LABEL_WIDTH, SIZE, GAP, ROW_HEIGHT, HEAD = 0.62, 0.535, 0.04, 0.78, 0.17  # inches


@dataclass(frozen=True)
class RankedList:
    """A query and its first gallery images; images are indices into the manifest."""

    chosen_as: str  # best, median, worst or random
    query: int
    average_precision: float
    nearest: tuple[int, ...]
    is_right: tuple[bool, ...]


def plot_ranked_lists(answers: Answers) -> Figure:
    """Show a row for each query: correct images in green with a tick, wrong ones in red with a cross.

    Raises:
        Error: the model is a classifier.
    """
    if not isinstance(answers, Rankings):
        raise Error("a classifier ranks no gallery.")
    lists, manifest = ranked_lists(answers), answers.asked.evaluation.manifest
    has_roles = answers.kind == "work"
    left_out = " Images of the query's own work and role are excluded." if has_roles else ""
    spoken = [f"{entry.chosen_as} {100 * entry.average_precision:.0f} % and {sum(entry.is_right)}" for entry in lists]
    return Figure(
        name="ranked_lists",
        title="Queries and their first ten gallery images",
        caption=f"Average precision, and how many of the first {len(lists[0].nearest)} show the query's {answers.kind}:"
        f" {'; '.join(spoken)}.{left_out}",
        plot=_plot(manifest, lists),
        columns=("query", "chosen_as", "average_precision", "rank", "image", "work", "role", "is_right"),
        rows=_rows(manifest, lists),
    )


def ranked_lists(answers: Rankings, seed: int = 0) -> list[RankedList]:
    """Return the lists of the best, the median and the worst query by average precision, and of three random ones."""
    is_right_QK = answers.is_right_QK
    lists = []
    for chosen_as, query in chosen(answers.average_precision_Q, seed):
        there = answers.nearest_QK[query] >= 0
        lists.append(
            RankedList(
                chosen_as,
                int(answers.queries_Q[query]),
                float(answers.average_precision_Q[query]),
                tuple(answers.nearest_QK[query, there].tolist()),
                tuple(is_right_QK[query, there].tolist()),
            )
        )
    return lists


def chosen(average_precision_Q: np.ndarray, seed: int) -> list[tuple[str, int]]:
    """Choose the queries to show; return the reason and the index of each, sorted by average precision."""
    order = np.argsort(-average_precision_Q, kind="stable")
    found = {int(order[0]): "best"}
    for name, query in (("worst", order[-1]), ("median", order[len(order) // 2])):
        found.setdefault(int(query), name)
    others = np.setdiff1d(order, list(found))
    sampled = np.random.default_rng(seed).permutation(others)[:NUM_RANDOM]
    found |= dict.fromkeys(sampled.tolist(), "random")
    by_value = sorted(found, key=lambda query: -average_precision_Q[query])
    return [(found[query], query) for query in by_value]


def _plot(manifest: Manifest, lists: list[RankedList]) -> matplotlib.figure.Figure:
    with canvas(FULL_WIDTH, HEAD + ROW_HEIGHT * len(lists), arranged=False) as page:
        height = page.get_figheight()
        longest = max(len(entry.nearest) for entry in lists)
        lefts = [LABEL_WIDTH + 1.5 * GAP * (column > 0) + column * (SIZE + GAP) for column in range(1 + longest)]
        for left, head in zip(lefts, ("query", *map(str, range(1, 1 + longest))), strict=True):
            page.text((left + SIZE / 2) / FULL_WIDTH, 1 - HEAD / 2 / height, head, ha="center", va="center", size=7)
        for row, entry in enumerate(lists):
            top = HEAD + row * ROW_HEIGHT
            label = f"{entry.chosen_as}\nAP {100 * entry.average_precision:.1f} %"
            page.text(0.02 / FULL_WIDTH, 1 - (top + SIZE / 2) / height, label, va="center", size=7, linespacing=1.4)
            for left, image in zip(lefts, (entry.query, *entry.nearest), strict=False):
                axes = show(page, (left, top), SIZE, picture(manifest, image), names_of(manifest, image))
                if left > lefts[0]:
                    mark(axes, right=entry.is_right[lefts.index(left) - 1])
    return page


def _rows(manifest: Manifest, lists: list[RankedList]) -> list[tuple[object, ...]]:
    return [
        (
            manifest.keys[entry.query],
            entry.chosen_as,
            entry.average_precision,
            rank,
            manifest.keys[image],
            manifest.works[manifest.work[image]],
            manifest.roles[manifest.role[image]],
            right,
        )
        for entry in lists
        for rank, (image, right) in enumerate(zip(entry.nearest, entry.is_right, strict=True), 1)
    ]
