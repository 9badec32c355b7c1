"""Means, deviations and paired tests, against the standard library and slow loops."""

import itertools
import math
import statistics

import numpy as np
import pytest
from rich.console import Console

from platform.finalize.compare import Comparison, compare, comparison_table, notes_on
from platform.finalize.paired_test import mean_and_std, paired_test, smallest_p

NAMES = {0: "trial 0 (paper row)", 3: "trial 3", 5: "trial 5", 7: "trial 7"}


def counted_p(values: list[int], others: list[int]) -> float:
    """Return the share of sign patterns whose sum is at least as far from zero, in whole numbers and so exactly."""
    differences = np.subtract(values, others)
    signs = itertools.product([1, -1], repeat=len(differences))
    return float(np.mean([abs(differences @ pattern) >= abs(differences.sum()) for pattern in signs]))


@pytest.mark.parametrize("num_pairs", [1, 2, 3, 4, 5, 9])
def test_p_is_the_share_of_all_patterns_of_signs(num_pairs: int) -> None:
    draw = np.random.default_rng(num_pairs)
    for _ in range(10):
        values, others = draw.integers(-(10**9), 10**9, (2, num_pairs)).tolist()
        found = paired_test(np.divide(values, 1e9), np.divide(others, 1e9))
        assert found.p == counted_p(values, others)
        assert found.difference == pytest.approx((statistics.fmean(values) - statistics.fmean(others)) / 1e9)


def test_rounding_errors_break_no_tie() -> None:
    values, others = [2, 1, 1, 1], [0, 2, 0, 3]  # as many points lost as won
    assert paired_test(np.divide(values, 3), np.divide(others, 3)).p == counted_p(values, others) == 1


def test_p_is_the_share_of_signs_that_a_loop_counts_also_with_ties_and_zeros() -> None:
    for differences in itertools.product([-0.1, 0.0, 0.1, 0.2], repeat=4):
        seen = abs(sum(differences))
        sums = [
            sum(s * d for s, d in zip(signs, differences, strict=True))
            for signs in itertools.product([1, -1], repeat=4)
        ]
        expected = sum(abs(total) > seen - 1e-6 for total in sums) / 16
        assert paired_test(differences, [0.0] * 4).p == expected


@pytest.mark.parametrize("num_pairs", [1, 2, 3, 5])
def test_the_smallest_p_is_that_of_differences_that_all_point_one_way(num_pairs: int) -> None:
    assert paired_test(range(1, num_pairs + 1), [0] * num_pairs).p == smallest_p(num_pairs) == 2 / 2**num_pairs


def test_no_pair_has_no_p() -> None:
    assert math.isnan(paired_test([], []).p)


def test_mean_and_deviation_are_those_of_the_standard_library() -> None:
    values = [0.3, 0.45, 0.41]
    assert mean_and_std(values) == pytest.approx((statistics.fmean(values), statistics.stdev(values)))
    assert math.isnan(mean_and_std([0.3])[1])


def compared() -> list[Comparison]:
    return compare(
        {0: {0: 0.4, 1: 0.5, 2: 0.3}, 3: {0: 0.9, 1: 0.2}, 5: {0: 0.8, 1: 0.3, 2: 0.2}, 7: {0: 0.5, 1: 0.6, 2: 0.5}},
        names=NAMES,
        reasons={3: "worse on 2 folds than the best candidate"},
        reference=0,
        wanted=[0, 1, 2],
        tested=[1, 2],
        chance=0.1,
    )


def test_rows_stand_by_their_mean_and_those_without_one_last() -> None:
    assert [one.trial for one in compared()] == [7, 5, 0, 3]
    assert [one.mean for one in compared()[:3]] == pytest.approx([1.6 / 3, 1.3 / 3, 1.2 / 3])
    assert math.isnan(compared()[3].mean)


def test_the_test_is_against_the_reference_over_the_tested_folds_alone() -> None:
    best, second, reference, without_mean = compared()
    assert best.test is not None
    assert (best.test.num_pairs, best.test.difference) == (2, pytest.approx(0.15))
    assert second.test is not None
    assert second.test.difference == pytest.approx(-0.15)  # though it leads on fold 0, by which it was chosen
    assert reference.test is None
    assert without_mean.test is None


def test_json_says_everything_as_fractions_and_what_is_not_known_as_null() -> None:
    best, _, _, without_mean = [one.as_json() for one in compared()]
    assert best["values"] == {"0": 0.5, "1": 0.6, "2": 0.5}
    assert (best["reference"], best["num_pairs"], best["smallest_p"], best["p"]) == (NAMES[0], 2, 0.5, 0.5)
    assert (best["reason"], best["chance"]) == (None, 0.1)
    assert without_mean["reason"] == "worse on 2 folds than the best candidate"
    assert without_mean["p"] is None


def test_people_see_every_number_beside_chance_and_what_p_cannot_be() -> None:
    console = Console(width=100)
    with console.capture() as screen:
        console.print(comparison_table("Folds", "fold", compared()))
    best = next(line for line in screen.get().splitlines() if "trial 7" in line)
    assert [cell.strip() for cell in best.strip("│").split("│")] == [
        "trial 7", "53.33", "5.77", "50.00", "60.00", "50.00", "+15.00", "0.5",
    ]  # fmt: skip
    assert "chance" in screen.get()
    notes = notes_on(compared(), "folds")
    assert notes[0] == "trial 3: worse on 2 folds than the best candidate."
    assert "Difference: to trial 0 (paper row), mean of 2 pairs (folds)" in notes[1]
    assert "with 2 pairs it is at least 0.5" in notes[1]
