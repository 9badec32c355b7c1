"""The galleries in the order of their queries, against a slow loop."""

import numpy as np

from trainables.metrics.cross_role import ranked_galleries


def test_ranked_galleries_are_the_order_that_is_measured() -> None:
    draw = np.random.default_rng(3)
    query, gallery = (
        draw.integers(0, 3, (40, 2)),
        draw.integers(0, 3, (60, 2)),
    )  # on a grid: with ties, without rounding
    works, roles = (
        (draw.integers(0, 4, 40), draw.integers(0, 4, 60)),
        (draw.integers(0, 3, 40), draw.integers(0, 3, 60)),
    )
    works[0][7] = 9  # a query without a positive
    labels = {"query_works": works[0], "gallery_works": works[1], "query_roles": roles[0], "gallery_roles": roles[1]}
    found = {}
    for queries_B, nearest_BG in ranked_galleries(query, gallery, **labels):
        found |= dict(zip(queries_B.tolist(), nearest_BG.tolist(), strict=True))
    for place in range(40):
        kept = [
            image for image in range(60) if (works[1][image], roles[1][image]) != (works[0][place], roles[0][place])
        ]
        if not any(works[1][image] == works[0][place] for image in kept):
            assert place not in found
            continue
        kept.sort(key=lambda image: ((query[place] - gallery[image]) ** 2).sum())
        assert found[place] == kept + [-1] * (60 - len(kept))
    assert len(found) == 39
