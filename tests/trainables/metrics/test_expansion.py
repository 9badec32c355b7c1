"""Query expansion and database augmentation against a slow loop."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from trainables.metrics.expansion import expand_features


def slow_expansion(features, gallery, num_neighbors, *, is_gallery):
    found = []
    for place, feature in enumerate(features):
        others = [other for other in range(len(gallery)) if not (is_gallery and other == place)]
        order = sorted(others, key=lambda other: (float(((feature - gallery[other]) ** 2).sum()), other))
        mean = np.mean([feature, *(gallery[other] for other in order[:num_neighbors])], axis=0)
        found.append(mean / np.linalg.norm(mean))
    return np.array(found)


@pytest.mark.parametrize("num_neighbors", [1, 3, 11])
def test_every_image_becomes_the_mean_of_itself_and_its_nearest_gallery_images(num_neighbors, monkeypatch):
    monkeypatch.setattr("trainables.metrics.expansion.DISTANCES_AT_ONCE", 40)  # blocks of three images
    draw = torch.Generator().manual_seed(0)
    query = functional.normalize(torch.randn(7, 6, generator=draw, dtype=torch.float64), dim=1)
    gallery = functional.normalize(torch.randn(12, 6, generator=draw, dtype=torch.float64), dim=1)
    gallery[5] = gallery[2]  # a tie, and a copy that is a neighbor of its original
    queries, augmented = expand_features(query, gallery, num_neighbors)
    expected = slow_expansion(query.numpy(), gallery.numpy(), num_neighbors, is_gallery=False)
    np.testing.assert_allclose(queries.numpy(), expected, atol=1e-12)
    expected = slow_expansion(gallery.numpy(), gallery.numpy(), num_neighbors, is_gallery=True)
    np.testing.assert_allclose(augmented.numpy(), expected, atol=1e-12)
