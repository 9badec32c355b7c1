"""Re-ranking against a slow loop from the paper and its authors' code, and what it does to ties and junk.

N queries and gallery together, Q queries, G gallery, D feature dimension.
"""

import numpy as np
import pytest
import torch

from trainables.metrics.cross_role import cross_role_metrics, metrics_of
from trainables.metrics.labels import read_labels
from trainables.metrics.rerank import RerankedDistances

K1, K2, WEIGHT = 20, 6, 0.3


def slow_distances(query_QD, gallery_GD):
    """Zhong et al. 2017, equations 1 to 12, with the lists of the authors' code: an image is its first neighbor."""
    features = np.concatenate([query_QD, gallery_GD]).astype(np.float64)
    num, num_queries = len(features), len(query_QD)
    distances = np.array([[((one - other) ** 2).sum() for other in features] for one in features])
    distances /= np.maximum(distances.max(axis=1, keepdims=True), 1e-300)
    ranking = [sorted(range(num), key=lambda other, i=i: (other != i, distances[i, other], other)) for i in range(num)]

    def reciprocal(image, k):
        return {other for other in ranking[image][: k + 1] if image in ranking[other][: k + 1]}

    weights = np.zeros((num, num))
    for image in range(num):
        first = reciprocal(image, K1)
        found = set(first)
        for other in first:
            candidates = reciprocal(other, K1 // 2)
            if len(candidates & first) > 2 / 3 * len(candidates):
                found |= candidates
        for other in found:
            weights[image, other] = np.exp(-distances[image, other])
        weights[image] /= weights[image].sum()
    expanded = np.array([np.mean([weights[other] for other in ranking[image][:K2]], axis=0) for image in range(num)])
    final = np.empty((num_queries, num - num_queries))
    for query in range(num_queries):
        for place in range(num - num_queries):
            pair = expanded[query], expanded[num_queries + place]
            jaccard = 1 - np.minimum(*pair).sum() / np.maximum(*pair).sum()
            final[query, place] = (1 - WEIGHT) * jaccard + WEIGHT * distances[query, num_queries + place]
    return final


def clusters(seed, num, width, num_works=5, spread=0.6):
    """Unit vectors around a center per work."""
    draw = np.random.default_rng(seed)
    works = draw.integers(num_works, size=num)
    centers = draw.normal(size=(num_works, width))
    features = centers[works] + spread * draw.normal(size=(num, width))
    return features / np.linalg.norm(features, axis=1, keepdims=True), works


def on_a_grid(seed, num):
    """Features with many exact ties and repeated images."""
    draw = np.random.default_rng(seed)
    return draw.integers(0, 3, size=(num, 4)).astype(np.float64), draw.integers(4, size=num)


@pytest.mark.parametrize(
    ("features", "num_queries"),
    [(clusters(0, 90, 16)[0], 30), (clusters(1, 12, 8)[0], 4), (on_a_grid(2, 70)[0], 20)],
    ids=["more images than neighbors", "fewer images than neighbors", "ties"],
)
def test_the_distances_are_those_of_a_slow_loop(features, num_queries):
    query, gallery = features[:num_queries], features[num_queries:]
    distances = RerankedDistances(torch.from_numpy(query), torch.from_numpy(gallery))
    found = distances.of(torch.arange(num_queries)).numpy()
    np.testing.assert_allclose(found, slow_distances(query, gallery), rtol=0, atol=1e-6)
    assert (distances.num_queries, distances.num_gallery) == found.shape


def test_blocks_of_images_do_not_change_the_distances(monkeypatch):
    features = torch.from_numpy(clusters(3, 60, 8)[0])
    whole = RerankedDistances(features[:20], features[20:]).of(torch.arange(20))
    monkeypatch.setattr("trainables.metrics.rerank.DISTANCES_AT_ONCE", 7 * 60)
    parts = RerankedDistances(features[:20], features[20:])
    both = torch.cat([parts.of(torch.arange(13)), parts.of(torch.arange(13, 20))])
    torch.testing.assert_close(both, whole, rtol=0, atol=1e-12)


def test_junk_takes_no_rank_and_ties_keep_the_order_of_the_gallery():
    features, works = on_a_grid(4, 80)
    roles = np.random.default_rng(5).integers(3, size=80)
    query, gallery = np.split(np.arange(80), [25])
    sides = {
        "query_works": works[query],
        "gallery_works": works[gallery],
        "query_roles": roles[query],
        "gallery_roles": roles[gallery],
    }
    distances = RerankedDistances(torch.from_numpy(features[query]), torch.from_numpy(features[gallery]))
    found = metrics_of(distances, read_labels(**sides))
    final = distances.of(torch.arange(25)).numpy()
    precisions, firsts = [], []
    for place, image in enumerate(query):
        order = sorted(range(len(gallery)), key=lambda other: (final[place, other], other))
        junk = (works[gallery] == works[image]) & (roles[gallery] == roles[image])
        right = [works[gallery[other]] == works[image] for other in order if not junk[other]]
        ranks = np.flatnonzero(right) + 1
        if len(ranks):
            precisions.append(np.mean(np.arange(1, len(ranks) + 1) / ranks))
            firsts.append(ranks[0])
    assert found.mAP == pytest.approx(np.mean(precisions), abs=1e-12)
    assert found.cmc[5] == np.mean(np.array(firsts) <= 5)
    assert found.num_valid_queries == len(precisions)


def test_many_copies_of_one_image_have_finite_distances():
    features = torch.ones(60, 4, dtype=torch.float64)
    assert RerankedDistances(features[:10], features[10:]).of(torch.arange(10)).isfinite().all()


def test_re_ranking_helps_where_works_are_curved():
    """Works on two circles: their far ends are nearer to each other's works than to their own."""
    angles = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    features = torch.from_numpy(np.concatenate([circle, 1.6 * circle]))
    works, is_query = np.repeat([0, 1], 80), np.arange(160) % 4 == 0
    query, gallery = features[is_query], features[~is_query]
    sides = {"query_works": works[is_query], "gallery_works": works[~is_query]}
    sides |= {"query_roles": np.zeros(len(query), int), "gallery_roles": np.ones(len(gallery), int)}
    plain = cross_role_metrics(query, gallery, **sides).mAP
    assert metrics_of(RerankedDistances(query, gallery), read_labels(**sides)).mAP > plain + 0.01
