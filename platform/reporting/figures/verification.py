"""Verification of image pairs: ROC curves on both splits, and how thresholds of the validation split do on each."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.axes
from matplotlib.ticker import PercentFormatter

from platform.reporting.figures.figure import Figure
from platform.reporting.figures.look import BLUE, COLUMN_WIDTH, GRAY, ORANGE, canvas
from trainables.inference.verification import Verification
from trainables.metrics.verification import PairCounts, Point

RATES = (0.1, 0.01, 0.001)  # requested false accept rates
LEAST_ACCEPTED = 10  # pairs of different works; rates of fewer are unreliable


def plot_verification(measured: Verification, test: PairCounts) -> Figure:
    """Plot the ROC curves of both splits, and mark the thresholds of the validation split on each.

    Args:
        measured: the verification of the validation split.
        test: the pairs of the test split.
    """
    rates = [rate for rate in RATES if rate * measured.num_different >= LEAST_ACCEPTED]
    asked = [measured.at_rate(rate) for rate in rates]
    reached = [test.at_threshold(point.threshold) for point in asked]
    lowest = max(LEAST_ACCEPTED / min(measured.num_different, test.num_different), min(rates, default=0) / 10)
    with canvas(COLUMN_WIDTH, 3.0) as page:
        axes = page.add_subplot()
        _curve(axes, measured.points, lowest, BLUE, f"validation, area {measured.area:.3f}")
        _curve(axes, test.curve(), lowest, ORANGE, f"test, area {test.area:.3f}")
        chance = [point.false_accept_rate for point in measured.points if point.false_accept_rate >= lowest]
        axes.plot(chance, chance, color=GRAY, linestyle=":", label="chance")
        for points, color in ((asked, BLUE), (reached, ORANGE)):
            axes.plot(*_coordinates(points), "o", color=color, markersize=5)
        axes.set(xscale="log", ylim=(0, 1), xlabel="false accept rate", ylabel="true accept rate")
        axes.xaxis.set_major_formatter(lambda rate, _: f"{100 * rate:g} %")
        axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        axes.legend(loc="upper left")
    return Figure(
        name="verification",
        title="Verification: are two images from the same work?",
        caption=_describe(rates, reached),
        plot=page,
        columns=("asked", "threshold", "split", "false_accept_rate", "false_reject_rate"),
        rows=[
            (rate, point.threshold, split, point.false_accept_rate, point.false_reject_rate)
            for split, points in (("val", asked), ("test", reached))
            for rate, point in zip(rates, points, strict=True)
        ],
    )


def _curve(axes: matplotlib.axes.Axes, points: Sequence[Point], lowest: float, color: str, label: str) -> None:
    shown = [point for point in points if point.false_accept_rate >= lowest]
    axes.plot(*_coordinates(shown), color=color, label=label)


def _coordinates(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [point.false_accept_rate for point in points], [1 - point.false_reject_rate for point in points]


def _describe(rates: Sequence[float], reached: Sequence[Point]) -> str:
    found = "; ".join(
        f"{100 * rate:g} % requested, {100 * point.false_accept_rate:.3g} % on the test split, with true accept rate"
        f" {100 * (1 - point.false_reject_rate):.3g} %"
        for rate, point in zip(rates, reached, strict=True)
    )
    return f"False accept rates with the thresholds of the validation split: {found}."
