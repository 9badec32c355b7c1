"""Circle and supervised contrastive losses against pytorch-metric-learning, gradients included."""

from functools import partial

import pytest
import torch
from pytorch_metric_learning.losses import CircleLoss, SupConLoss

from trainables.losses.contrastive import circle_loss, supcon_loss

LOSSES = {
    "circle": (partial(circle_loss, margin=0.25, scale=64.0), CircleLoss(m=0.25, gamma=64.0)),
    "supcon": (partial(supcon_loss, temperature=0.1), SupConLoss(temperature=0.1)),
}
WORKS = {
    "four of each": torch.arange(24) // 4,
    "some works once": torch.tensor([0, 0, 0, 1, 2, 2, 3, 4, 4, 4, 4, 5]),
    "a single work": torch.zeros(8, dtype=torch.int64),
    "no work twice": torch.arange(8),
}


@pytest.mark.parametrize("works_B", WORKS.values(), ids=WORKS)
@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_gradient_are_those_of_pytorch_metric_learning(name, works_B):
    ours, theirs = LOSSES[name]
    generator = torch.Generator().manual_seed(0)
    features_BD = (torch.randn(len(works_B), 6, generator=generator, dtype=torch.float64) + 0.5).requires_grad_()
    expected, found = theirs(features_BD, works_B), ours(features_BD, works_B)
    torch.testing.assert_close(found, expected)
    (expected_BD,), (found_BD,) = (torch.autograd.grad(loss, features_BD) for loss in (expected, found))
    torch.testing.assert_close(found_BD, expected_BD)


@pytest.mark.parametrize("name", LOSSES)
def test_equal_images_give_a_finite_gradient(name):
    features_BD = torch.ones(6, 4, requires_grad=True)
    LOSSES[name][0](features_BD, torch.arange(6) // 2).backward()
    assert features_BD.grad.isfinite().all()
