"""Figures of large studies show a part of the trials, say so, and keep all numbers."""

import statistics
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import optuna
import pytest
from optuna.trial import create_trial

from platform.read_only_study import StoredStudy
from platform.reporting import course
from platform.reporting.course import trials_section
from platform.reporting.figures import front, learning_curves, parallel_coordinates, selection, timeline
from platform.reporting.figures.figure import Figure
from platform.reporting.figures.history import plot_history
from platform.reporting.figures.learning_curves import plot_learning_curves
from platform.reporting.figures.parallel_coordinates import plot_parallel_coordinates
from platform.reporting.figures.selection import shown_points, thinned
from platform.reporting.figures.slices import plot_slices
from platform.reporting.figures.timeline import plot_timeline
from platform.reporting.figures.trials import with_value
from tests.platform.stored_by_hand import BASELINES, TRIALS, stored_by_hand

BEST = 3  # of the trials written by hand


@pytest.fixture(scope="module")
def stored() -> StoredStudy:
    return stored_by_hand()


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that nine trials exceed."""
    monkeypatch.setattr(selection, "MOST_POINTS", 5)
    monkeypatch.setattr(learning_curves, "MOST_CURVES", 5)
    monkeypatch.setattr(parallel_coordinates, "MOST_LINES", 5)
    monkeypatch.setattr(parallel_coordinates, "NUM_BEST", 2)
    monkeypatch.setattr(timeline, "MOST_BARS", 5)
    monkeypatch.setattr(course, "MAX_LISTED", 3)


@pytest.mark.parametrize(("num", "most"), [(0, 3), (3, 3), (4, 3), (100, 7), (10_000, 2000)])
def test_thinned_items_are_evenly_spaced_with_both_ends(num: int, most: int) -> None:
    kept = thinned(range(num), most)
    assert len(kept) == min(num, most)
    if num > most:
        assert (kept[0], kept[-1]) == (0, num - 1)
        gaps = np.diff(kept)
        assert gaps.max() - gaps.min() <= 1


@pytest.mark.usefixtures("small_limits")
def test_the_bands_are_quantiles_of_the_trials_that_reached_an_epoch(stored: StoredStudy) -> None:
    figure = plot_learning_curves(stored)
    reached: dict[int, list[float]] = defaultdict(list)
    for *_, values, _ in TRIALS:
        for epoch, value in enumerate(values, start=1):
            reached[epoch].append(100 * value)
    cuts = {epoch: statistics.quantiles(values, n=20, method="inclusive") for epoch, values in reached.items()}
    for line, (name, cut) in zip(
        figure.interactive.data, {"5 %": 0, "25 %": 4, "50 %": 9, "75 %": 14, "95 %": 18}.items(), strict=False
    ):
        assert (line.name, list(line.x)) == (name, [1, 2, 3, 4])
        assert list(line.y) == pytest.approx([cuts[epoch][cut] for epoch in (1, 2, 3, 4)])
    names = [text.get_text() for text in figure.plot.axes[0].get_legend().get_texts()]
    assert {"best: trial 3", "paper ViT-Base", "hand-set", "median", "5 to 95 % of trials"} <= {*names}
    assert len(figure.interactive.data) == 5 + 3, "the bands, the best trial and two baselines"
    outer = figure.plot.axes[0].collections[0].get_paths()[0].vertices
    assert outer[:, 1].min() == pytest.approx(min(cut[0] for cut in cuts.values()))


@pytest.mark.usefixtures("small_limits")
def test_the_shown_points_have_the_best_and_the_baselines(stored: StoredStudy) -> None:
    points = with_value(stored)
    kept = shown_points(points)
    assert len(kept) == 5 < len(points)
    assert {trial.number for _, trial, _ in kept} >= {BEST, *BASELINES}
    assert kept == [point for point in points if point in kept]


PLOTS = [plot_learning_curves, plot_slices, plot_parallel_coordinates, plot_history, plot_timeline]


@pytest.mark.parametrize("plot", PLOTS)
def test_a_figure_that_shows_a_part_keeps_all_numbers_and_says_so(
    plot: Callable[[StoredStudy], Figure], stored: StoredStudy, request: pytest.FixtureRequest
) -> None:
    whole = plot(stored)
    request.getfixturevalue("small_limits")
    part = plot(stored)
    assert (part.columns, part.rows) == (whole.columns, whole.rows)
    assert len(part.caption) > len(whole.caption)
    assert "file of numbers has" in part.caption
    assert "file of numbers" not in whole.caption
    assert len(part.as_svg()) < len(whole.as_svg()) or plot is plot_learning_curves


@pytest.mark.usefixtures("small_limits")
def test_the_table_of_a_large_study_has_the_best_trials(stored: StoredStudy) -> None:
    (table,) = trials_section(stored).tables
    assert [row[0] for row in table.rows] == ["1", "3", "4"]  # or 8, which has 0.30 too, but came later
    assert table.title == "The best 3 of 9 trials by mAP after their last epoch"


def test_a_crowded_front_is_thinned_but_its_own_trials_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.set_user_attr("search", {"objective": "mAP num_parameters"})
    for place in range(40):
        study.add_trial(create_trial(values=[0.5 + 0.01 * (place % 4), 1e6 * (1 + place)]))
    whole = front.plot_front(StoredStudy(study=study))
    monkeypatch.setattr(front, "MOST_POINTS", 6)
    part = front.plot_front(StoredStudy(study=study))
    assert part.rows == whole.rows
    assert "10 trials are shown; the file of numbers has all." in part.caption
    shown = [len(curve.x) for curve in part.interactive.data]
    assert shown == [6, 4]
