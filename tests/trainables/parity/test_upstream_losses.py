"""The losses on given features, logits and labels: ours and the restated ones agree to 1e-10 in float64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.trainables.parity import upstream_losses
from trainables.losses.criterion import Criterion
from trainables.models.model import Outputs
from trainables.recipes import get_recipe
from trainables.recipes.settings import override

WORKS, PER_WORK, WIDTH = 6, 4, 32
TOLERANCE = 1e-10
FAR = 1000.0  # features so long that log(1 + exp(x)) of their distances overflows


def features_and_works(length: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return features and the works that they belong to."""
    torch.manual_seed(3)
    works_B = torch.arange(WORKS).repeat_interleave(PER_WORK)
    return length * torch.randn(WORKS * PER_WORK, WIDTH), works_B


def losses_of(name: str, branches: list[Tensor], works_B: Tensor, **settings: object) -> dict[str, Tensor]:
    """Our losses of a recipe on these features, with logits of half their first numbers."""
    recipe: Any = override(get_recipe(name), settings)
    logits = [features_BD[:, :WORKS] / 2 for features_BD in branches]
    return Criterion(recipe, WORKS, WIDTH)(Outputs(logits, branches, {}), works_B)


def close(ours: Tensor, theirs: Tensor) -> bool:
    """Whether both are equal to ten digits, or both infinite."""
    return torch.allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("length", [0.1, 1.0, 5.0])
@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("transreid-vit-base", upstream_losses.soft_triplet),
        ("transreid-vit-base-code", upstream_losses.soft_triplet),
        ("transreid-vit-base-upstream", upstream_losses.soft_triplet),
        ("agw-resnet50", upstream_losses.weighted_triplet),
        ("agw-resnet50-code", upstream_losses.weighted_triplet),
        ("agw-resnet50-upstream", upstream_losses.weighted_triplet),
    ],
)
def test_metric_losses_are_upstreams(name: str, loss: Callable[[Tensor, Tensor], Tensor], length: float) -> None:
    features_BD, works_B = features_and_works(length)
    assert close(losses_of(name, [features_BD], works_B)["metric_loss"], loss(features_BD, works_B))


@pytest.mark.parametrize("name", ["agw-resnet50-code", "agw-resnet50-upstream"])
def test_the_weighted_triplet_overflows_where_upstreams_does(name: str) -> None:
    features_BD, works_B = features_and_works()
    # a work's images are far apart, and near to another work's: the gap is as large as the features are long
    features_BD = FAR * features_BD[torch.arange(PER_WORK).repeat(WORKS)] + features_BD
    theirs = upstream_losses.weighted_triplet(features_BD, works_B)
    assert torch.isinf(theirs)
    assert torch.isinf(losses_of(name, [features_BD], works_B)["metric_loss"])


@pytest.mark.parametrize("name", ["agw-resnet50", "agw-resnet50-code", "agw-resnet50-upstream"])
def test_far_negatives_lose_their_weight_as_in_upstream(name: str) -> None:
    features_BD, works_B = features_and_works(3.0)
    theirs = upstream_losses.weighted_triplet(features_BD, works_B)
    # 20 far negatives: the exponentials fall under the 1e-6 that upstream adds
    assert theirs > 15
    assert torch.allclose(losses_of(name, [features_BD], works_B)["metric_loss"], theirs, rtol=1e-5)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("name", "smoothing"), [("agw-resnet50", 0.1), ("transreid-vit-base", 0.0), ("dafre-128-r18", 0.0)]
)
def test_the_identity_loss_is_upstreams(name: str, smoothing: float) -> None:
    features_BD, works_B = features_and_works()
    theirs = upstream_losses.smoothed_cross_entropy(features_BD[:, :WORKS] / 2, works_B, smoothing)
    assert close(losses_of(name, [features_BD], works_B)["id_loss"], theirs)


@pytest.mark.usefixtures("float64")
def test_jpm_weighs_the_global_branch_as_much_as_all_local_ones() -> None:
    features_BD, works_B = features_and_works()
    branches = [features_BD * scale for scale in (1.0, 0.5, 1.5, 2.0, 0.2)]
    ours = losses_of("transreid-vit-jpm", branches, works_B)
    triplets = [upstream_losses.soft_triplet(branch, works_B) for branch in branches]
    identities = [upstream_losses.smoothed_cross_entropy(branch[:, :WORKS] / 2, works_B, 0.0) for branch in branches]
    assert close(ours["metric_loss"], upstream_losses.of_branches(triplets))
    assert close(ours["id_loss"], upstream_losses.of_branches(identities))
    assert close(ours["loss"], ours["metric_loss"] + ours["id_loss"])


@pytest.mark.usefixtures("float64")
def test_the_center_loss_and_its_centers_move_as_upstreams() -> None:
    features_BD, works_B = features_and_works()
    recipe: Any = get_recipe("agw-resnet50-upstream")
    ours = Criterion(recipe, WORKS, WIDTH).train()
    theirs = upstream_losses.CenterLoss(WORKS, WIDTH)
    (our_centers,) = ours.buffers()
    our_centers.copy_(theirs.centers.detach())
    for step in range(3):
        batch = features_BD + step
        outputs = Outputs([batch[:, :WORKS]], [batch], {})
        loss = theirs(batch, works_B)
        our_losses = ours(outputs, works_B)
        weighted = our_losses["loss"] - our_losses["id_loss"] - our_losses["metric_loss"]
        # upstream's other works add 1e-12 each; the weight is 5e-4
        assert torch.allclose(weighted, 5e-4 * loss, rtol=TOLERANCE, atol=TOLERANCE)
        (gradient,) = torch.autograd.grad(loss, theirs.centers)
        with torch.no_grad():
            theirs.centers -= theirs.lr * gradient
        assert close(our_centers, theirs.centers.detach())


@pytest.mark.usefixtures("float64")
def test_centers_start_as_normal_numbers() -> None:
    torch.manual_seed(0)
    (centers,) = Criterion(get_recipe("agw-resnet50-upstream"), 200, 512).buffers()
    assert centers.mean().abs() < 4 / (200 * 512) ** 0.5
    assert abs(centers.std() - 1) < 0.02


@pytest.mark.usefixtures("float64")
def test_the_tag_and_exclusion_losses_are_upstreams() -> None:
    torch.manual_seed(4)
    recipe: Any = override(
        get_recipe("animesion-b16-vilt"),
        {"exclusion_weight": 0.01, "exclusion_distance": 2, "exclusion_temperature": 2.0},
    )
    logits_BN, works_B = torch.randn(5, 7), torch.arange(5)
    words_BLV, asked_BL = torch.randn(5, 16, 50), torch.randint(5, 50, (5, 16))
    asked_BL[:, 0] = asked_BL[:, 9:] = -100
    class_tokens_BKD = torch.randn(5, 12, 32)
    extra = {"word_logits": words_BLV, "class_tokens": class_tokens_BKD}
    ours = Criterion(recipe, 7, 32)(Outputs([logits_BN], [torch.randn(5, 32)], extra), works_B, asked_BL)
    identity = upstream_losses.smoothed_cross_entropy(logits_BN, works_B, 0.0)
    tags = upstream_losses.tag_loss(words_BLV, asked_BL)
    exclusion = upstream_losses.exclusion_loss(class_tokens_BKD, 2, 2.0)
    assert close(ours["tag_loss"], tags)
    assert close(ours["exclusion_loss"], exclusion)
    assert close(ours["loss"], identity + tags - 0.01 * exclusion)
