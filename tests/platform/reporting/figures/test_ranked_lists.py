"""The lists that are drawn are the galleries in the order of the rules, and the queries are those that are named."""

import numpy as np
import pytest

from platform.reporting.figures.answers import Answers, Rankings
from platform.reporting.figures.pictures import picture, shortened
from platform.reporting.figures.ranked_lists import chosen, plot_ranked_lists, ranked_lists
from shards_tools.errors import Error
from tests.platform.reporting.figures.by_hand import ranked_by_hand


def test_each_list_is_what_a_slow_loop_finds(rankings: Rankings) -> None:
    by_hand = {entry.query: entry for entry in ranked_by_hand(rankings.asked)}
    for entry in ranked_lists(rankings):
        slow = by_hand[entry.query]
        assert list(entry.nearest) == slow.gallery[:10]
        assert list(entry.is_right) == slow.is_right[:10]
        assert entry.average_precision == pytest.approx(slow.average_precision)


def test_best_median_and_worst_are_so_by_average_precision(rankings: Rankings) -> None:
    values = sorted(entry.average_precision for entry in ranked_by_hand(rankings.asked))
    found = {entry.chosen_as: entry.average_precision for entry in ranked_lists(rankings)}
    middle = values[(len(values) - 1) // 2]
    assert (found["best"], found["median"], found["worst"]) == pytest.approx((values[-1], middle, values[0]))


def test_random_queries_are_others_and_the_same_every_time() -> None:
    precision = np.linspace(0, 1, 20)
    places = chosen(precision, 0)
    assert len({query for _, query in places}) == 6
    assert [why for why, _ in places].count("random") == 3
    assert places == chosen(precision, 0)
    assert places != chosen(precision, 1)


@pytest.mark.parametrize("number", [1, 2, 4])
def test_few_queries_are_all_taken_and_none_twice(number: int) -> None:
    assert sorted(query for _, query in chosen(np.linspace(0, 1, number), 0)) == list(range(number))


def test_right_images_have_ticks_and_wrong_ones_crosses(rankings: Rankings) -> None:
    figure = plot_ranked_lists(rankings)
    drawing, right = figure.as_svg(), [row[-1] for row in figure.rows]
    assert (drawing.count("✓"), drawing.count("✗")) == (right.count(True), right.count(False))
    assert any(right)
    assert not all(right)


def test_pictures_are_the_images_as_they_are(rankings: Rankings) -> None:
    manifest = rankings.asked.evaluation.manifest
    assert picture(manifest, 0).shape == (40, 40, 3)  # and not the model's 32


def test_a_long_name_keeps_both_ends() -> None:
    assert shortened("personai_00012", 9) == "pers…0012"
    assert shortened("personai", 8) == "personai"


def test_classes_have_no_lists(names: Answers) -> None:
    with pytest.raises(Error, match="a classifier ranks no gallery"):
        plot_ranked_lists(names)
