"""How often a correct answer is among the first k: CMC for rankings, top-k accuracy for classes."""

from dataclasses import dataclass
from typing import Any

import matplotlib.figure
import numpy as np

from platform.reporting.figures.answers import Answers
from platform.reporting.figures.figure import Figure
from platform.reporting.figures.look import BLUE, COLUMN_WIDTH, GRAY, INTERACTIVE, canvas
from trainables.metrics.chance import chance_metrics

LAST_PLACE = 50  # the curve ends here, or at the end of the gallery or classes
SPOKEN_PLACES = (1, 5, 10, 20)


@dataclass(frozen=True)
class Curve:
    """The fractions of queries with a correct answer among the first 1, 2, 3, ... answers."""

    found: np.ndarray
    chance: np.ndarray


def plot_cmc(answers: Answers) -> Figure:
    """Plot the curve of the model and that of random answers."""
    curve, ranks = cmc(answers), answers.asked.evaluation.ranks
    places = range(1, len(curve.found) + 1)
    return Figure(
        name="cmc",
        title="Cumulative matching characteristic" if ranks else "Top-k accuracy",
        caption=_describe(answers, curve),
        plot=_plot(curve, ranks),
        interactive=_plot_interactive(curve, ranks),
        columns=("rank" if ranks else "k", "found", "chance"),
        rows=list(zip(places, curve.found.tolist(), curve.chance.tolist(), strict=True)),
    )


def cmc(answers: Answers) -> Curve:
    """Return the curve up to k = 50, or up to the size of the gallery or the number of classes."""
    evaluation = answers.asked.evaluation
    if evaluation.ranks:
        places = range(1, min(LAST_PLACE, len(evaluation.gallery)) + 1)
        random = chance_metrics(**evaluation.labels, ranks=places).cmc
        chance = np.array([random[place] for place in places])
    else:
        num_classes = len(answers.asked.info.works)
        places = range(1, min(LAST_PLACE, num_classes) + 1)
        chance = np.array(places) / num_classes
    return Curve(np.array([(answers.places_Q <= place).mean() for place in places]), chance)


def _describe(answers: Answers, curve: Curve) -> str:
    evaluation = answers.asked.evaluation
    num_classes = len(answers.asked.info.works)
    name = "R" if evaluation.ranks else "top-"
    among = f"{len(evaluation.gallery):,} images" if evaluation.ranks else f"{num_classes:,} classes"
    spoken = [
        f"{name}{place} {100 * curve.found[place - 1]:.1f} % (chance {100 * curve.chance[place - 1]:.1f} %)"
        for place in SPOKEN_PLACES
        if place <= len(curve.found)
    ]
    asked = f"{len(answers.queries_Q):,} queries, {among}."
    return f"How often a correct answer is among the first k: {', '.join(spoken)}. {asked}"


def _plot(curve: Curve, ranks: bool) -> matplotlib.figure.Figure:
    places = np.arange(1, len(curve.found) + 1)
    with canvas(COLUMN_WIDTH, 2.6) as page:
        axes = page.add_subplot()
        axes.plot(places, 100 * curve.found, color=BLUE, label="model")
        axes.plot(places, 100 * curve.chance, color=GRAY, linestyle="--", label="chance")
        spoken = [place for place in SPOKEN_PLACES if place <= len(places)]
        axes.plot(spoken, 100 * curve.found[np.array(spoken) - 1], "o", color=BLUE, markersize=3.5)
        axes.set(xlabel="rank" if ranks else "k", ylabel="queries answered, %", ylim=(0, 102))
        axes.set_xticks([*spoken, *([len(places)] if len(places) > 1.25 * spoken[-1] else [])])
        axes.set_xlim(0.5, len(places) + 0.5)
        axes.legend(loc="lower right")
    return page


def _plot_interactive(curve: Curve, ranks: bool) -> Any:
    import plotly.graph_objects as go

    places = list(range(1, len(curve.found) + 1))
    figure = go.Figure(layout=INTERACTIVE)
    for name, values, line in (
        ("model", curve.found, {"color": BLUE}),
        ("chance", curve.chance, {"color": GRAY, "dash": "dash"}),
    ):
        figure.add_scatter(x=places, y=100 * values, name=name, mode="lines+markers", marker_size=4, line=line)
    figure.update_traces(hovertemplate="%{y:.2f} %")
    figure.update_layout(
        hovermode="x unified",
        xaxis={"title": "rank" if ranks else "k", "hoverformat": "d"},
        yaxis={"title": "queries answered, %", "range": [0, 102]},
    )
    return figure
