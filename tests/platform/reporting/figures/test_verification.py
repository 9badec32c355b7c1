"""The table under the curves holds the rates that a count pair by pair gives on both splits."""

import itertools

import numpy as np
import pytest

from platform.reporting.figures.verification import plot_verification
from trainables.inference.verification import Verification
from trainables.metrics.verification import count_pairs


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of length 1 of forty images of four works, no two of one role."""
    random = np.random.default_rng(seed)
    works = np.repeat(np.arange(4), 10)
    features = random.normal(size=(4, 8))[works] + random.normal(size=(40, 8))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features.astype(np.float32), works, np.arange(40)


def test_the_test_split_is_judged_by_thresholds_of_the_validation_split() -> None:
    val, test = count_pairs(*drawn(0)), count_pairs(*drawn(1))
    measured = Verification(
        data="", fold=0, split="val", num_images=40, num_works=4, num_works_trained=0,
        num_same=val.num_same, num_different=val.num_different, area=val.area, points=val.curve(),
    )  # fmt: skip
    figure = plot_verification(measured, test)
    features, works, _ = drawn(1)
    pairs = list(itertools.combinations(range(40), 2))
    distances = np.array([np.linalg.norm(features[i].astype(float) - features[j]) for i, j in pairs])
    same = np.array([works[i] == works[j] for i, j in pairs])
    assert [row[:3:2] for row in figure.rows] == [(0.1, "val"), (0.1, "test")]  # a hundredth is too few of 600 pairs
    _, threshold, _, accepted, rejected = figure.rows[1]
    assert accepted == pytest.approx((distances[~same] < threshold).mean())
    assert rejected == pytest.approx((distances[same] >= threshold).mean())
    assert f"{100 * accepted:.3g} % on the test split" in figure.caption
