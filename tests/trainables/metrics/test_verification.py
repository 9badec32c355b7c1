"""Counts of pairs against a slow loop and scikit-learn's ROC, also where all features lie close together."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from trainables.metrics import verification
from trainables.metrics.verification import PairCounts, count_pairs


def drawn(spread: float, num: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of length 1 around one direction: five slightly separated works, two roles each."""
    random = np.random.default_rng(0)
    works = random.integers(0, 5, num)
    features = 1 + spread * (random.normal(size=(5, 16))[works] + random.normal(size=(num, 16)))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features.astype(np.float32), works, 2 * works + random.integers(0, 2, num)


def slow_pairs(features: np.ndarray, works: np.ndarray, roles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distance of each pair that is no junk, and whether it is of one work."""
    pairs = [(i, j) for i, j in itertools.combinations(range(len(works)), 2) if roles[i] != roles[j]]
    exact = features.astype(np.float64)
    distances = np.array([np.linalg.norm(exact[i] - exact[j]) for i, j in pairs])
    return distances, np.array([works[i] == works[j] for i, j in pairs])


@pytest.mark.parametrize("spread", [1.0, 1e-3])
def test_rates_are_those_of_a_count_pair_by_pair(spread: float) -> None:
    data = drawn(spread)
    counts = count_pairs(*data)
    distances, same = slow_pairs(*data)
    assert (counts.num_same, counts.num_different) == (same.sum(), (~same).sum())
    for rate in (0.003, 0.01, 0.1, 0.5):
        point = counts.at_rate(rate)
        passing = distances < point.threshold
        assert point.false_accept_rate == pytest.approx(passing[~same].mean(), abs=1e-12)
        assert point.false_reject_rate == pytest.approx(1 - passing[same].mean(), abs=1e-12)
        assert point.false_accept_rate <= rate
        assert counts.at_threshold(point.threshold) == point


@pytest.mark.parametrize("spread", [1.0, 1e-3])
def test_the_curve_is_that_of_scikit_learn(spread: float) -> None:
    data = drawn(spread)
    counts = count_pairs(*data)
    distances, same = slow_pairs(*data)
    accepted, right, _ = roc_curve(same, -distances, drop_intermediate=False)
    for point in counts.curve():
        # the highest threshold that allows this number: no correct pair that costs no more is left out
        best = right[accepted <= point.false_accept_rate + 1e-12].max()
        assert 1 - point.false_reject_rate == pytest.approx(best, abs=1e-12)
    assert counts.area == pytest.approx(roc_auc_score(same, -distances), abs=1e-4)


def test_a_curve_begins_with_what_can_be_counted_and_holds_the_round_rates() -> None:
    points = count_pairs(*drawn(1.0, num=200)).curve()
    rates = [point.false_accept_rate for point in points]
    assert rates == sorted(rates)
    assert rates[-1] == 1
    assert min(0.01 - rate for rate in rates if rate <= 0.01) < 1e-4


def test_blocks_of_any_size_give_the_same_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    features, works, roles = drawn(1.0)
    features = np.round(features * 64) / 64  # products are exact, however they are summed
    whole = count_pairs(features, works, roles)
    monkeypatch.setattr(verification, "PAIRS_AT_ONCE", 7 * len(works))
    parts = count_pairs(features, works, roles)
    assert (whole.same_T == parts.same_T).mean() > 0.999  # the center is a mean, whose last bit stays
    assert (whole.num_same, whole.num_different) == (parts.num_same, parts.num_different)


def test_equal_images_of_two_works_are_the_worst_and_cannot_be_told_apart() -> None:
    features = np.eye(4, dtype=np.float32)[[0, 0, 1, 2]]
    counts = count_pairs(features, np.array([0, 1, 0, 1]), np.arange(4))
    assert isinstance(counts, PairCounts)
    assert counts.at_rate(0.2).threshold == 0  # no pair of two works may pass: none does
    assert counts.at_rate(0.25).false_accept_rate == 0.25
    assert counts.at_rate(0.25).false_reject_rate == 1.0
