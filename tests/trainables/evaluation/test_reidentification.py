"""Market-1501's protocol is the cross-role protocol with cameras as roles."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shards_tools.build import build
from shards_tools.manifest import Manifest
from shards_tools.sources import market1501
from trainables.evaluation.evaluation import Evaluation
from trainables.inference.verification import labeled_images
from trainables.metrics.cross_role import cross_role_metrics

NUM_PEOPLE = 8
NUM_CAMERAS = 4


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Market-1501 tree of noise: 8 people in query and gallery, with distractors and junk, and no train."""
    root = tmp_path_factory.mktemp("market")
    draw = np.random.default_rng(0)
    numbers = iter(range(10_000))
    for part, identities, count in (
        ("query", [f"{person:04d}" for person in range(1, NUM_PEOPLE + 1)], 2),
        ("bounding_box_test", [f"{person:04d}" for person in range(1, NUM_PEOPLE + 1)], 7),
        ("bounding_box_test", ["0000", "-1"], 12),
    ):
        (root / part).mkdir(exist_ok=True)
        for identity in identities:
            for _ in range(count):
                camera = draw.integers(1, NUM_CAMERAS + 1)
                pixels = draw.integers(0, 256, (8, 4, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / f"{identity}_c{camera}s1_{next(numbers):06d}_00.jpg")
    return root


@pytest.fixture(scope="module")
def shards(market: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The tree's shards."""
    return build(market1501.scan(market), tmp_path_factory.mktemp("shards") / "market")


def feature(stem: str) -> np.ndarray:
    """Return a random feature that leans towards the image's identity."""
    own = np.random.default_rng(zlib.crc32(stem.encode())).normal(size=6)
    return own + np.random.default_rng(zlib.crc32(stem.split("_")[0].encode())).normal(size=6)


def zheng(root: Path) -> tuple[float, dict[int, float]]:
    """Return mAP and CMC by Zheng et al. 2015, section 4: one image at a time, from the files' names.

    Gallery images of identity -1, and those of the query's person in the query's camera, have no influence.
    """
    gallery = sorted(file.stem for file in (root / "bounding_box_test").iterdir())
    precisions, first_ranks = [], []
    for query in sorted(file.stem for file in (root / "query").iterdir()):
        person, camera = query.split("_")[0], query.split("_")[1][:2]
        order = sorted(gallery, key=lambda stem: ((feature(stem) - feature(query)) ** 2).sum())
        rank, found = 0, []
        for stem in order:
            other, place = stem.split("_")[0], stem.split("_")[1][:2]
            if other == "-1" or (other == person and place == camera):
                continue
            rank += 1
            if other == person:
                found.append(rank)
        if found:
            precisions.append(np.mean([number / rank for number, rank in enumerate(found, 1)]))
            first_ranks.append(found[0])
    return float(np.mean(precisions)), {k: float(np.mean(np.array(first_ranks) <= k)) for k in (1, 5, 10)}


def test_the_evaluator_gives_markets_map_and_cmc(market, shards):
    evaluation = Evaluation(shards, "test")
    stems = [str(key).split("-", 1)[1] for key in shards.keys]
    features = np.stack([feature(stem) for stem in stems])
    found = cross_role_metrics(
        features[evaluation.query], features[evaluation.gallery], **evaluation.labels, ranks=(1, 5, 10)
    )
    mean_average_precision, cmc = zheng(market)
    assert found.mAP == pytest.approx(mean_average_precision, abs=1e-9)
    assert found.cmc == pytest.approx(cmc)
    assert 0.2 < found.mAP < 0.95, "the features must neither be perfect nor noise"


def test_chance_counts_distractors_but_not_junk(shards):
    evaluation = Evaluation(shards, "test")
    assert len(evaluation.gallery) == 7 * NUM_PEOPLE + 12
    assert 0.02 < evaluation.chance()["mAP"] < 0.3


def test_distractors_are_no_pairs_of_one_work(shards):
    images = labeled_images(Evaluation(shards, "test"))
    assert len(images) == (2 + 7) * NUM_PEOPLE
    assert "distractor" not in {shards.works[work] for work in shards.work[images]}
