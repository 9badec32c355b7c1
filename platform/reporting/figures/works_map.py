"""A t-SNE map of the features.

Axes: n images, D feature width.
"""

from dataclasses import dataclass
from typing import Any

import matplotlib.figure
import numpy as np
from threadpoolctl import threadpool_limits

from platform.reporting.figures.answers import Answers
from platform.reporting.figures.figure import Figure
from platform.reporting.figures.look import COLUMN_WIDTH, GRAY, INTERACTIVE, PALETTE, canvas
from platform.reporting.figures.pictures import names_of, plain, shortened
from platform.reporting.figures.trials import escaped
from shards_tools.errors import Error
from shards_tools.manifest import Manifest

MOST_IMAGES = 2000  # more would overlap and take minutes
NUM_NAMED = 10  # works; the others are gray
PERPLEXITY = 30.0  # van der Maaten and Hinton 2008: typical values are between 5 and 50
SEED = 0
SYMBOLS = {  # matplotlib's markers and their equivalents in Plotly
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "*": "star",
    "P": "cross",
    "X": "x",
    "<": "triangle-left",
    ">": "triangle-right",
}
COLORS = tuple(color for color in PALETTE if color != GRAY)


@dataclass(frozen=True)
class Map:
    """The images on the map and their coordinates."""

    images_n: np.ndarray  # indices into the manifest
    points_n2: np.ndarray
    same_work: float  # the fraction of images whose nearest neighbor on the map has the same work


def plot_works_map(answers: Answers) -> Figure:
    """Plot the images as points, with the colors and markers of their works.

    Raises:
        Error: there are too few images, or their features are all equal.
    """
    map_, manifest = works_map(answers), answers.asked.evaluation.manifest
    works_n = manifest.work[map_.images_n]
    counts = np.unique(works_n, return_counts=True)[1]
    chance = float((counts * (counts - 1)).sum() / (len(works_n) * (len(works_n) - 1)))
    of_all = f" of {len(answers.images_N):,}" if len(works_n) < len(answers.images_N) else ""
    return Figure(
        name="works_map",
        title="Map of the features",
        caption=f"t-SNE (perplexity {_perplexity(len(works_n)):g}, seed {SEED}) of {len(works_n):,}{of_all} images of"
        f" {len(counts):,} {answers.kinds}. The nearest neighbor on the map has the same {answers.kind} for"
        f" {100 * map_.same_work:.1f} % of them (chance {100 * chance:.1f} %).",
        plot=_plot(manifest, map_),
        interactive=_plot_interactive(manifest, map_),
        columns=("x", "y", "work", "role", "image"),
        rows=[
            (*point, manifest.works[manifest.work[image]], manifest.roles[manifest.role[image]], manifest.keys[image])
            for point, image in zip(map_.points_n2.tolist(), map_.images_n.tolist(), strict=True)
        ],
    )


def works_map(answers: Answers) -> Map:
    """Return the map of all images, or of 2,000 images sampled with a fixed seed."""
    kept = np.sort(np.random.default_rng(SEED).permutation(len(answers.images_N))[:MOST_IMAGES])
    images_n, features_nD = answers.images_N[kept], answers.features_ND[kept]
    works_n = answers.asked.evaluation.manifest.work[images_n]
    points_n2 = embedded(features_nD)
    distances_nn = np.square(points_n2[:, None] - points_n2).sum(axis=2)
    np.fill_diagonal(distances_nn, np.inf)
    return Map(images_n, points_n2, float((works_n[distances_nn.argmin(axis=1)] == works_n).mean()))


def embedded(features_nD: np.ndarray) -> np.ndarray:
    """Return the t-SNE coordinates of each image, of shape (n, 2), reproducibly.

    Raises:
        Error: there are fewer than five images, or their features are all equal.
    """
    from sklearn.manifold import TSNE  # importing it takes a second, which other figures do not need

    if len(features_nD) < 5 or not np.ptp(features_nD, axis=0).any():
        raise Error(f"t-SNE needs at least 5 images with different features; these {len(features_nD)} are not enough.")
    tsne = TSNE(perplexity=_perplexity(len(features_nD)), init="pca", random_state=SEED)
    with threadpool_limits(1):  # the rounding of sums depends on the number of threads
        points_n2: np.ndarray = tsne.fit_transform(features_nD)
    return points_n2


def _perplexity(num_images: int) -> float:
    return min(PERPLEXITY, (num_images - 1) // 3)


@dataclass(frozen=True)
class _Group:
    """The points with the same color and marker."""

    name: str
    points_n2: np.ndarray
    images_n: np.ndarray
    color: str
    marker: str


def _groups(manifest: Manifest, map_: Map) -> list[_Group]:
    """Return a group for each of the largest works and one for all other works."""
    works_n = manifest.work[map_.images_n]
    works, counts = np.unique(works_n, return_counts=True)
    named = works[np.argsort(-counts, kind="stable")][:NUM_NAMED].tolist()
    looks = [(COLORS[number % len(COLORS)], marker) for number, marker in enumerate(SYMBOLS)]
    parts = [(manifest.works[work], works_n == work, *look) for work, look in zip(named, looks, strict=False)]
    if len(works) > len(named):
        parts.append((f"{len(works) - len(named):,} others", ~np.isin(works_n, named), GRAY, "."))
    return [_Group(name, map_.points_n2[its], map_.images_n[its], color, marker) for name, its, color, marker in parts]


def _plot(manifest: Manifest, map_: Map) -> matplotlib.figure.Figure:
    groups = _groups(manifest, map_)
    size = float(np.clip(12000 / len(map_.images_n), 7, 18))  # square points
    with canvas(COLUMN_WIDTH + 1.4, COLUMN_WIDTH) as page:
        axes = page.add_subplot(aspect="equal", adjustable="datalim")
        for group in groups:
            behind = group.color == GRAY
            axes.scatter(
                group.points_n2[:, 0],
                group.points_n2[:, 1],
                s=size,
                c=group.color,
                marker=group.marker,
                alpha=0.4 if behind else 0.75,
                linewidths=0,
                zorder=1 if behind else 2,
                label=plain(shortened(group.name, 20)),
            )
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        page.legend(loc="outside right center", fontsize=7, markerscale=(20 / size) ** 0.5, handletextpad=0.2)
    return page


def _plot_interactive(manifest: Manifest, map_: Map) -> Any:
    import plotly.graph_objects as go

    figure = go.Figure(layout=INTERACTIVE)
    for group in _groups(manifest, map_):
        figure.add_scatter(
            x=group.points_n2[:, 0],
            y=group.points_n2[:, 1],
            name=escaped(group.name),
            mode="markers",
            marker={"size": 7, "opacity": 0.8, "color": group.color, "symbol": SYMBOLS.get(group.marker, "circle")},
            text=[
                "<br>".join(map(escaped, (*names_of(manifest, image), manifest.keys[image])))
                for image in group.images_n.tolist()
            ],
            hovertemplate="%{text}<extra></extra>",
        )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False, scaleanchor="x")
    return figure
