"""The losses against slow loops written from the papers.

B batch, D width.
"""

import math

import pytest
import torch

from trainables.losses import LOSSES
from trainables.losses.transreid import over_branches
from trainables.losses.triplet import soft_margin_triplet


def slow_triplet(features_BD: torch.Tensor, works_B: torch.Tensor) -> float:
    """Mean over anchors of log(1 + exp(farthest positive - nearest negative))."""
    total = 0.0
    for anchor in range(len(works_B)):
        distances = [math.dist(features_BD[anchor].tolist(), other.tolist()) for other in features_BD]
        same = [d for d, work in zip(distances, works_B, strict=True) if work == works_B[anchor]]
        other = [d for d, work in zip(distances, works_B, strict=True) if work != works_B[anchor]]
        total += math.log1p(math.exp(max(same) - min(other)))
    return total / len(works_B)


@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
def test_the_triplet_loss_is_the_soft_margin_batch_hard_one(scale):
    draw = torch.Generator().manual_seed(0)
    features_BD = scale * torch.randn(24, 8, generator=draw) + 3  # neither centred nor of length 1
    works_B = torch.arange(24) // 4
    assert soft_margin_triplet(features_BD, works_B).item() == pytest.approx(
        slow_triplet(features_BD, works_B), rel=1e-5
    )


def test_features_in_bfloat16_are_compared_in_float32():
    features_BD = (torch.randn(16, 8, generator=torch.Generator().manual_seed(0)) + 100).bfloat16()
    works_B = torch.arange(16) // 4
    loss = soft_margin_triplet(features_BD, works_B)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(slow_triplet(features_BD.float(), works_B), rel=1e-4)


def test_half_of_each_loss_is_the_global_branchs_and_half_the_mean_of_the_local_ones():
    branches = [torch.tensor(value) for value in (1.0, 2.0, 3.0, 4.0, 7.0)]
    assert over_branches(branches, 0.5).item() == 0.5 * 1 + 0.5 * (2 + 3 + 4 + 7) / 4
    assert over_branches(branches[:1], 0.5).item() == 1.0


@pytest.mark.parametrize("num_branches", [1, 5])
def test_the_total_is_id_plus_triplet_over_the_branches(small_recipe, num_branches):
    draw = torch.Generator().manual_seed(1)
    works_B = torch.arange(8) // 2
    logits = [torch.randn(8, 4, generator=draw) for _ in range(num_branches)]
    features = [torch.randn(8, 6, generator=draw) for _ in range(num_branches)]
    losses = LOSSES["transreid"]({"logits": logits, "features": features}, works_B, small_recipe())

    def weighted(values: list[float]) -> float:
        return values[0] if len(values) == 1 else 0.5 * values[0] + 0.5 * sum(values[1:]) / 4

    def cross_entropy(logits_BN: torch.Tensor) -> float:
        rows = zip(logits_BN.tolist(), works_B.tolist(), strict=True)
        return sum(math.log(sum(map(math.exp, row))) - row[work] for row, work in rows) / 8

    id_loss = weighted([cross_entropy(logits_BN) for logits_BN in logits])
    triplet_loss = weighted([slow_triplet(features_BD, works_B) for features_BD in features])
    assert losses["id_loss"].item() == pytest.approx(id_loss, rel=1e-5)
    assert losses["triplet_loss"].item() == pytest.approx(triplet_loss, rel=1e-5)
    assert losses["loss"].item() == pytest.approx(id_loss + triplet_loss, rel=1e-5)
