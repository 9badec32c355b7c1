"""The map of the features: the same every time, and apart what is apart."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from platform.reporting.figures.answers import Rankings
from platform.reporting.figures.works_map import embedded, plot_works_map
from shards_tools.errors import Error


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    """Two heaps far from each other, so wide that their principal axes are found from random numbers."""
    heaps = np.random.default_rng(0).normal(size=(40, 600)).astype(np.float32)
    heaps[20:] += 30
    return heaps


@pytest.mark.integration
def test_the_map_is_the_same_every_time_and_with_any_number_of_threads(features: np.ndarray) -> None:
    with threadpool_limits(2):
        points = embedded(features)
    assert np.array_equal(points, embedded(features))
    sides = np.sign(points[:, 0] - points[:, 0].mean()), np.sign(points[:, 1] - points[:, 1].mean())
    assert any(len(set(side[:20])) == len(set(side[20:])) == 1 and side[0] != side[20] for side in sides)


def test_features_that_are_all_the_same_make_no_map() -> None:
    with pytest.raises(Error, match="these 20 are not enough"):
        embedded(np.ones((20, 4), np.float32))


def test_every_image_is_a_point_with_its_work_and_role(rankings: Rankings) -> None:
    manifest, figure = rankings.asked.evaluation.manifest, plot_works_map(rankings)
    assert sorted(row[-1] for row in figure.rows) == sorted(manifest.keys[rankings.images_N])
    for x, _, work, role, key in figure.rows:
        group = next(trace for trace in figure.interactive.data if trace.name == work)
        place = np.flatnonzero(np.asarray(group.x, np.float32) == np.float32(x))
        assert any(group.text[number] == f"{work}<br>{role.split('/')[1]}<br>{key}" for number in place)
