"""The expectation for random rankings against all orders of small galleries and against random features."""

import itertools
import math

import numpy as np
import pytest

from trainables.metrics import chance_metrics, cross_role_metrics


@pytest.mark.parametrize(("num_positives", "num_negatives"), [(1, 0), (1, 4), (2, 3), (3, 1), (4, 0)])
def test_it_is_the_mean_over_all_orders_of_a_gallery(num_positives: int, num_negatives: int) -> None:
    gallery = [True] * num_positives + [False] * num_negatives
    precisions, penalties, firsts = [], [], []
    for order in itertools.permutations(gallery):
        places = [place for place, hit in enumerate(order, start=1) if hit]
        precisions.append(np.mean([found / place for found, place in enumerate(places, start=1)]))
        penalties.append(num_positives / places[-1])
        firsts.append(places[0])
    found = chance_metrics(["A"], ["A" if hit else "B" for hit in gallery], [0], [1] * len(gallery), ranks=(1, 2, 9))
    assert found.mAP == pytest.approx(np.mean(precisions))
    assert found.mINP == pytest.approx(np.mean(penalties))
    assert found.cmc == pytest.approx({rank: np.mean(np.array(firsts) <= rank) for rank in (1, 2, 9)})
    assert found.num_valid_queries == 1


def test_random_features_score_chance() -> None:
    generator = np.random.default_rng(0)
    query_works, gallery_works = generator.integers(0, 6, 300), generator.integers(0, 6, 200)
    query_roles, gallery_roles = generator.integers(0, 3, 300), generator.integers(0, 3, 200)
    chance = chance_metrics(query_works, gallery_works, query_roles, gallery_roles)
    runs = [
        cross_role_metrics(
            generator.normal(size=(300, 16)),
            generator.normal(size=(200, 16)),
            query_works=query_works,
            gallery_works=gallery_works,
            query_roles=query_roles,
            gallery_roles=gallery_roles,
        )
        for _ in range(20)
    ]
    assert {run.num_valid_queries for run in runs} == {chance.num_valid_queries}
    assert np.mean([run.mAP for run in runs]) == pytest.approx(chance.mAP, rel=0.02)
    assert np.mean([run.mINP for run in runs]) == pytest.approx(chance.mINP, rel=0.02)
    assert np.mean([run.cmc[5] for run in runs]) == pytest.approx(chance.cmc[5], rel=0.04)


def test_queries_without_a_positive_are_not_counted() -> None:
    assert chance_metrics([0, 1, 2], [0, 1], [0, 0, 0], [1, 0]).num_valid_queries == 1
    nothing = chance_metrics([0, 1], [2, 3], [0, 0], [1, 0])
    assert nothing.num_valid_queries == 0
    assert math.isnan(nothing.mAP)
    assert math.isnan(nothing.cmc[20])


def test_a_large_gallery_keeps_its_precision() -> None:
    # One positive: AP and INP are 1/rank, whose mean over N ranks is the harmonic number over N.
    num_gallery = 25_000
    found = chance_metrics([0], [0] + [1] * (num_gallery - 1), [0], [1] * num_gallery)
    harmonic = math.fsum(1 / place for place in range(1, num_gallery + 1))
    assert found.mAP == pytest.approx(harmonic / num_gallery, rel=1e-9)
    assert found.mINP == pytest.approx(harmonic / num_gallery, rel=1e-9)
    assert found.cmc[20] == pytest.approx(20 / num_gallery, rel=1e-6)
