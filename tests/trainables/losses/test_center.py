"""The center loss against a slow loop and the optimizer step of AGW's code."""

import pytest
import torch
from torch import nn

from trainables.losses.center import CenterLoss


def test_it_is_the_mean_squared_distance_to_the_own_center():
    torch.manual_seed(0)
    loss, features_BD, works_B = CenterLoss(5, 3), torch.randn(7, 3), torch.tensor([0, 1, 1, 4, 4, 4, 2])
    rows = zip(features_BD.tolist(), works_B.tolist(), strict=True)
    slow = sum(sum((a - b) ** 2 for a, b in zip(row, loss.centers[work].tolist(), strict=True)) for row, work in rows)
    assert loss.eval()(features_BD, works_B).item() == pytest.approx(slow / 7, rel=1e-5)


def test_the_centers_move_as_sgd_at_a_half_moves_them_in_agws_code():
    torch.manual_seed(0)
    loss, works_B = CenterLoss(5, 3), torch.tensor([0, 1, 1, 4, 4, 4, 2])
    centers, weight = nn.Parameter(loss.centers.clone()), 5e-4
    optimizer = torch.optim.SGD([centers], lr=0.5)
    for _ in range(3):
        features_BD = torch.randn(7, 3)
        optimizer.zero_grad()
        (weight * (features_BD - centers[works_B]).square().sum(dim=1).mean()).backward()
        centers.grad.mul_(1 / weight)  # as AGW's trainer does
        loss.train()(features_BD, works_B)
        optimizer.step()
        torch.testing.assert_close(loss.centers, centers.data)


def test_in_evaluation_mode_they_stay():
    loss = CenterLoss(2, 3).eval()
    before = loss.centers.clone()
    loss(torch.randn(4, 3), torch.tensor([0, 0, 1, 1]))
    assert torch.equal(loss.centers, before)
