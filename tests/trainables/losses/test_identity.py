"""The identity losses against slow loops written from the papers, and pytorch-metric-learning where it has them.

B batch, D width, N works, K sub-centers.
"""

import math
from types import SimpleNamespace

import pytest
import torch
from pytorch_metric_learning.losses import ArcFaceLoss, CosFaceLoss, SubCenterArcFaceLoss

from trainables.factories import call_factory
from trainables.losses.registry import ID_LOSSES
from trainables.models.head import CosineClassifier

WORKS_B = torch.tensor([0, 3, 1, 2, 2, 0, 1, 3])


def settings(id_loss, **values):
    return SimpleNamespace(**{"id_loss": id_loss, "id_margin": 0.5, "id_scale": 30.0, "label_smoothing": 0.0, **values})


def identity_loss(logits_BN, works_B, recipe):
    """The loss that the registry makes for these settings."""
    return call_factory(ID_LOSSES[recipe.id_loss].factory, recipe=recipe)(logits_BN, works_B)


def slow_mean(logits_BN):
    """Cross-entropy written out."""
    rows = zip(logits_BN, WORKS_B.tolist(), strict=True)
    return sum(math.log(sum(map(math.exp, row))) - row[work] for row, work in rows) / len(WORKS_B)


@pytest.fixture
def cosines_BN():
    return torch.rand(8, 4, generator=torch.Generator().manual_seed(0)) * 1.98 - 0.99


def slow_margin(cosines_BN, kind, margin, scale):
    """The logits of each image, from the formula of each paper."""
    logits = []
    for row, work in zip(cosines_BN.tolist(), WORKS_B.tolist(), strict=True):
        moved = []
        for place, cosine in enumerate(row):
            own = place == work
            if kind == "arcface":
                angle = math.acos(cosine)
                beyond = angle + margin > math.pi
                with_margin = cosine - margin * math.sin(margin) if beyond else math.cos(angle + margin)
                moved.append(with_margin if own else cosine)
            elif kind == "cosface":
                moved.append(cosine - margin if own else cosine)
            else:
                weight = max(0.0, 1 + margin - cosine) if own else max(0.0, cosine + margin)
                moved.append(weight * (cosine - (1 - margin if own else margin)))
        logits.append([scale * value for value in moved])
    return logits


@pytest.mark.parametrize(
    ("kind", "margin", "scale"), [("arcface", 0.5, 30), ("cosface", 0.35, 64), ("circle", 0.25, 9)]
)
def test_a_margin_is_the_papers_formula(cosines_BN, kind, margin, scale):
    loss = identity_loss(cosines_BN, WORKS_B, settings(kind, id_margin=margin, id_scale=scale))
    assert loss.item() == pytest.approx(slow_mean(slow_margin(cosines_BN, kind, margin, scale)), rel=1e-5)


def test_an_angle_beyond_pi_keeps_falling_as_the_cosine_does():
    losses = []
    for cosine in (-0.7, -0.9, -0.99):
        cosines_BN = torch.full((8, 4), 0.2).scatter(1, WORKS_B[:, None], cosine)
        losses.append(identity_loss(cosines_BN, WORKS_B, settings("arcface", id_margin=0.9)).item())
    assert losses == sorted(losses)


@pytest.mark.parametrize(
    ("kind", "oracle"),
    [
        ("arcface", lambda: ArcFaceLoss(4, 6, margin=math.degrees(0.5), scale=30)),
        ("cosface", lambda: CosFaceLoss(4, 6, margin=0.5, scale=30)),
    ],
)
def test_margins_and_their_gradients_are_the_librarys(kind, oracle):
    torch.manual_seed(0)
    library, features_BD = oracle(), torch.randn(8, 6, requires_grad=True)
    classifier = CosineClassifier(6, 4, 1)
    with torch.no_grad():
        classifier.weight.copy_(library.W.T[:, None])
    theirs = library(features_BD, WORKS_B)
    (their_gradient,) = torch.autograd.grad(theirs, features_BD)
    ours = identity_loss(classifier(features_BD), WORKS_B, settings(kind))
    (our_gradient,) = torch.autograd.grad(ours, features_BD)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    torch.testing.assert_close(our_gradient, their_gradient, rtol=1e-4, atol=1e-6)


def test_sub_centers_are_the_librarys():
    torch.manual_seed(0)
    shape = {"num_classes": 4, "embedding_size": 6, "sub_centers": 3}
    library = SubCenterArcFaceLoss(**shape, margin=math.degrees(0.5), scale=30)
    features_BD = torch.randn(8, 6)
    classifier = CosineClassifier(6, 4, 3)
    with torch.no_grad():
        classifier.weight.copy_(library.W.T.view(4, 3, 6))
    ours = identity_loss(classifier(features_BD), WORKS_B, settings("arcface"))
    assert ours.item() == pytest.approx(library(features_BD, WORKS_B).item(), rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_label_smoothing_is_agws_target(smoothing):
    logits_BN = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    total = 0.0
    for row, work in zip(logits_BN.tolist(), WORKS_B.tolist(), strict=True):
        log_sum = math.log(sum(map(math.exp, row)))
        targets = [(1 - smoothing) * (place == work) + smoothing / 4 for place in range(4)]
        total -= sum(target * (value - log_sum) for target, value in zip(targets, row, strict=True))
    loss = identity_loss(logits_BN, WORKS_B, settings("softmax", label_smoothing=smoothing))
    assert loss.item() == pytest.approx(total / 8, rel=1e-5)
