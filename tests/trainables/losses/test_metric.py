"""The losses between images against slow loops written from the papers, and upstream's printed numbers.

B batch, D width.
"""

import math
from types import SimpleNamespace

import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner
from pytorch_metric_learning.reducers import MeanReducer

from trainables.factories import call_factory
from trainables.losses.registry import METRIC_LOSSES
from trainables.losses.triplet import weighted_triplet, weighted_triplet_as_agw

WORKS_B = torch.arange(24) // 4
SETTINGS = SimpleNamespace(metric_margin=0.3, metric_scale=8.0, temperature=0.1)


def loss_of(name):
    """The loss that the registry makes for these settings."""
    return call_factory(METRIC_LOSSES[name].factory, recipe=SETTINGS)


def features_at(scale):
    """Neither centered nor of length 1."""
    return scale * torch.randn(24, 8, generator=torch.Generator().manual_seed(0)) + 3


def distances_of(features_BD, anchor):
    rows = features_BD.double().tolist()
    return [math.dist(rows[anchor], other) for other in rows]


def slow_triplet(features_BD, margin=None):
    """Mean over anchors of the farthest positive against the nearest negative."""
    total = 0.0
    for anchor, work in enumerate(WORKS_B):
        distances = distances_of(features_BD, anchor)
        same = [d for d, other in zip(distances, WORKS_B, strict=True) if other == work]
        others = [d for d, other in zip(distances, WORKS_B, strict=True) if other != work]
        gap = max(same) - min(others)
        total += math.log1p(math.exp(gap)) if margin is None else max(0.0, gap + margin)
    return total / len(WORKS_B)


def slow_wrt(features_BD, epsilon=0.0):
    """Mean over anchors of log(1 + exp(weighted positives - weighted negatives)); AGW, eq. 7 to 9."""
    total = 0.0
    for anchor, work in enumerate(WORKS_B):
        distances = distances_of(features_BD, anchor)
        same = [d for d, other in zip(distances, WORKS_B, strict=True) if other == work]
        others = [d for d, other in zip(distances, WORKS_B, strict=True) if other != work]
        top, bottom = max(same), min(others)
        near = [math.exp(d - top) for d in same]
        far = [math.exp(bottom - d) for d in others]
        positive = sum(w * d for w, d in zip(near, same, strict=True)) / (sum(near) + epsilon)
        negative = sum(w * d for w, d in zip(far, others, strict=True)) / (sum(far) + epsilon)
        total += math.log1p(math.exp(positive - negative))
    return total / len(WORKS_B)


def slow_supcon(features_BD):
    """Khosla et al. 2020, eq. 2, over features of length 1."""
    rows = torch.nn.functional.normalize(features_BD.double(), dim=1)
    similar = (rows @ rows.T / SETTINGS.temperature).tolist()
    total = 0.0
    for anchor, work in enumerate(WORKS_B):
        others = [place for place in range(24) if place != anchor]
        log_sum = math.log(sum(math.exp(similar[anchor][place]) for place in others))
        positives = [place for place in others if WORKS_B[place] == work]
        total -= sum(similar[anchor][place] - log_sum for place in positives) / len(positives)
    return total / 24


def slow_circle(features_BD):
    """Sun et al. 2020, eq. 6, over cosines; every image asks once."""
    margin, gamma = SETTINGS.metric_margin, SETTINGS.metric_scale
    rows = torch.nn.functional.normalize(features_BD.double(), dim=1)
    cosines = (rows @ rows.T).tolist()
    total = 0.0
    for anchor, work in enumerate(WORKS_B):
        positive, negative = 0.0, 0.0
        for place in range(24):
            cosine = cosines[anchor][place]
            if WORKS_B[place] != work:
                negative += math.exp(gamma * max(0.0, cosine + margin) * (cosine - margin))
            elif place != anchor:
                positive += math.exp(-gamma * max(0.0, 1 + margin - cosine) * (cosine - (1 - margin)))
        total += math.log1p(positive * negative)
    return total / 24


SLOW = {
    "soft_triplet": slow_triplet,
    "triplet": lambda features_BD: slow_triplet(features_BD, SETTINGS.metric_margin),
    "wrt": slow_wrt,
    "circle": slow_circle,
    "supcon": slow_supcon,
}


@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("name", SLOW)
def test_a_loss_is_the_slow_loop_of_its_paper(name, scale):
    features_BD = features_at(scale)
    loss = loss_of(name)(features_BD, WORKS_B)
    assert loss.item() == pytest.approx(SLOW[name](features_BD), rel=1e-4, abs=1e-6)


def test_every_loss_has_a_slow_loop_or_is_upstreams_form_of_one():
    assert set(METRIC_LOSSES) == {*SLOW, "wrt_agw"}


def test_where_all_images_are_easy_the_hard_margin_still_divides_by_all_of_them():
    features_BD = features_at(0.01) + 10 * WORKS_B[:, None] * (WORKS_B[:, None] > 1)
    loss = loss_of("triplet")(features_BD, WORKS_B).item()
    assert 0 < loss == pytest.approx(slow_triplet(features_BD, SETTINGS.metric_margin), rel=1e-3)


@pytest.mark.parametrize("scale", [0.1, 0.5, 1.0])
def test_upstreams_form_of_the_weighted_triplet_is_the_same_where_images_are_near(scale):
    features_BD = features_at(scale)
    assert weighted_triplet_as_agw(features_BD, WORKS_B).item() == pytest.approx(slow_wrt(features_BD), rel=1e-4)


@pytest.mark.parametrize(("distance", "collapsed"), [(14.0, 13.7), (17.0, 12.1), (20.0, 2.2), (25.0, 0.02)])
def test_upstreams_form_loses_far_negatives_as_its_printed_numbers_do(distance, collapsed):
    # 61 images of as many works, each as far from the 60 others: the weighted negatives should be that distance
    features_BD = distance / math.sqrt(2) * torch.eye(61, dtype=torch.float64)
    works_B = torch.arange(61)
    for loss, negatives in ((weighted_triplet, distance), (weighted_triplet_as_agw, collapsed)):
        value = loss(features_BD, works_B).item()  # log(1 + exp(0 - negatives))
        assert -math.log(math.expm1(value)) == pytest.approx(negatives, abs=0.06)


@pytest.mark.parametrize(("name", "margin", "smooth"), [("soft_triplet", 0.0, True), ("triplet", 0.3, False)])
def test_the_triplets_and_their_gradients_are_the_librarys(name, margin, smooth):
    features_BD = features_at(1.0).requires_grad_()
    distance = LpDistance(normalize_embeddings=False)
    triplets = BatchHardMiner(distance=distance)(features_BD, WORKS_B)
    settings = {"margin": margin, "smooth_loss": smooth, "distance": distance, "reducer": MeanReducer()}
    theirs = TripletMarginLoss(**settings)(features_BD, WORKS_B, triplets)
    (their_gradient,) = torch.autograd.grad(theirs, features_BD)
    ours = loss_of(name)(features_BD, WORKS_B)
    (our_gradient,) = torch.autograd.grad(ours, features_BD)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    torch.testing.assert_close(our_gradient, their_gradient, rtol=1e-3, atol=1e-5)


def test_a_batch_of_one_work_has_a_loss_of_0_and_no_gradient():
    for name in ("soft_triplet", "wrt"):
        features_BD = features_at(1.0).requires_grad_()
        loss = loss_of(name)(features_BD, torch.zeros(24, dtype=torch.int64))
        loss.backward()
        assert loss.item() == 0
        assert not features_BD.grad.any()


def test_the_gradient_is_finite_where_images_are_equal():
    for name in METRIC_LOSSES:
        features_BD = torch.ones(24, 8, requires_grad=True)
        loss_of(name)(features_BD, WORKS_B).backward()
        assert torch.isfinite(features_BD.grad).all(), name
