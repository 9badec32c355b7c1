"""The weighted sum of a recipe's losses, over the branches of its model."""

import pytest
import torch
from torch.nn import functional

from trainables.losses.criterion import Criterion, over_branches
from trainables.losses.triplet import soft_margin_triplet
from trainables.models.model import Outputs

WORKS_B = torch.arange(8) // 2


def outputs_of(num_branches):
    draw = torch.Generator().manual_seed(1)
    logits = [torch.randn(8, 4, generator=draw) for _ in range(num_branches)]
    return Outputs(logits, [torch.randn(8, 6, generator=draw) for _ in range(num_branches)], {})


def test_half_of_each_loss_is_the_global_branchs_and_half_the_mean_of_the_local_ones(small_recipe):
    branches = [torch.tensor(value) for value in (1.0, 2.0, 3.0, 4.0, 7.0)]
    assert over_branches(branches, small_recipe()).item() == 0.5 * 1 + 0.5 * (2 + 3 + 4 + 7) / 4
    assert over_branches(branches[:1], small_recipe()).item() == 1.0


@pytest.mark.parametrize("num_branches", [1, 5])
def test_the_total_is_the_weighted_sum_over_the_branches(small_recipe, num_branches):
    recipe = small_recipe(id_weight=0.7, metric_weight=1.3)
    outputs = outputs_of(num_branches)
    losses = Criterion(recipe, 4, 6)(outputs, WORKS_B)

    def weighted(values):
        return values[0] if len(values) == 1 else 0.5 * values[0] + 0.5 * sum(values[1:]) / 4

    id_loss = weighted([functional.cross_entropy(logits, WORKS_B).item() for logits in outputs.logits])
    metric_loss = weighted([soft_margin_triplet(features, WORKS_B).item() for features in outputs.features])
    assert losses["id_loss"].item() == pytest.approx(id_loss, rel=1e-5)
    assert losses["metric_loss"].item() == pytest.approx(metric_loss, rel=1e-5)
    assert losses["loss"].item() == pytest.approx(0.7 * id_loss + 1.3 * metric_loss, rel=1e-5)


def test_a_loss_without_weight_is_neither_computed_nor_reported(small_recipe):
    recipe = small_recipe(metric_weight=0.0, batch_sampler="shuffle")
    assert set(Criterion(recipe, 4, 6)(outputs_of(1), WORKS_B)) == {"loss", "id_loss"}


def test_the_center_loss_counts_with_its_weight(small_recipe):
    losses = Criterion(small_recipe(center_weight=0.01), 4, 6)
    values = losses(outputs_of(1), WORKS_B)
    expected = values["id_loss"] + values["metric_loss"] + 0.01 * values["center_loss"]
    torch.testing.assert_close(values["loss"], expected)
    assert losses.state_dict().keys() == {"center.centers"}
