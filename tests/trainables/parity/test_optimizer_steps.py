"""Five optimizer steps on one fixed batch from equal weights: ours and the restated training agree to 1e-9 in float64.

The restated training is a plain loop: upstream's loss, and torch's optimizer with a group for each weight as the
programs build it.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.trainables.parity import upstream_losses
from tests.trainables.parity.our_names import as_restated, cut, rules_of
from tests.trainables.parity.pairs import Pair, images_of, make_pair, outputs_of, words_of
from tests.trainables.parity.shapes import NUM_WORKS
from trainables.data.batches import Batch
from trainables.losses.criterion import Criterion
from trainables.training.optimizer import build_optimizer, set_learning_rate
from trainables.training.schedule import Moment
from trainables.training.step import Step

pytestmark = pytest.mark.integration

STEPS = 5
TOLERANCE = 1e-9
WORKS, PER_WORK = 4, 3
PLACE = Moment(4, 0, 32)  # behind the warm-ups of the tiny scale

Loss = Callable[[dict[str, Any], Tensor], Tensor]


def transreid_loss(outputs: dict[str, Any], works_B: Tensor) -> Tensor:
    """Cross-entropy and the soft-margin triplet, each over all branches."""
    identities = [upstream_losses.smoothed_cross_entropy(logits, works_B, 0.0) for logits in outputs["logits"]]
    triplets = [upstream_losses.soft_triplet(features, works_B) for features in outputs["features"]]
    return upstream_losses.of_branches(identities) + upstream_losses.of_branches(triplets)


def agw_loss(outputs: dict[str, Any], works_B: Tensor) -> Tensor:
    """Cross-entropy with smoothed labels and the weighted triplet."""
    identity = upstream_losses.smoothed_cross_entropy(outputs["logits"][0], works_B, 0.1)
    return identity + upstream_losses.weighted_triplet(outputs["features"][0], works_B)


def classifier_loss(outputs: dict[str, Any], works_B: Tensor) -> Tensor:
    """Cross-entropy, and that of the hidden words, of which these are all but the marks."""
    loss = upstream_losses.smoothed_cross_entropy(outputs["logits"][0], works_B, 0.0)
    return loss + upstream_losses.tag_loss(outputs["word_logits"], outputs["asked"]) if "asked" in outputs else loss


SGD = {"kind": torch.optim.SGD, "momentum": 0.9}
ADAM = {"kind": torch.optim.Adam}
# base rate, weight decay and the factor of biases as upstream's files have them
CASES: tuple[tuple[str, dict[str, Any], Loss, dict[str, Any]], ...] = (
    ("transreid-vit-base-tiny", {}, transreid_loss, {**SGD, "decay": 1e-4, "bias_factor": 2.0}),
    ("transreid-vit-stride-tiny", {}, transreid_loss, {**SGD, "decay": 1e-4, "bias_factor": 2.0}),
    ("transreid-deit-small-upstream-tiny", {}, transreid_loss, {**SGD, "decay": 1e-4, "bias_factor": 2.0}),
    ("agw-resnet50-tiny", {}, agw_loss, {**SGD, "decay": 5e-4}),
    ("agw-resnet50-nl-code-tiny", {}, agw_loss, {**SGD, "decay": 5e-4}),
    ("agw-resnet50-ibn-a-code-tiny", {}, agw_loss, {**SGD, "decay": 5e-4}),
    ("agw-resnet50-nl-upstream-tiny", {}, agw_loss, {**ADAM, "decay": 5e-4, "center_weight": 5e-4}),
    ("dafre-128-r18-tiny", {}, classifier_loss, {**SGD, "decay": 0.0}),
    ("dafre-128-b16-tiny", {}, classifier_loss, {**SGD, "decay": 0.0}),
    ("dafre-224-sn-tiny", {}, classifier_loss, {**SGD, "decay": 0.0}),
    ("animesion-b16-ifa-tiny", {}, classifier_loss, {**SGD, "decay": 0.0}),
    ("animesion-b16-vilt-tiny", {"masking": "full"}, classifier_loss, {**SGD, "decay": 0.0}),
    ("icartoonface-resnet50-tiny", {}, classifier_loss, {**SGD, "decay": 1e-4}),
)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("name", "settings", "loss", "upstream"), CASES, ids=[case[0] for case in CASES])
def test_five_steps_move_every_weight_as_upstream_does(
    name: str, settings: dict[str, Any], loss: Loss, upstream: dict[str, Any]
) -> None:
    pair = make_pair(name, **settings)
    start = {key: value.clone() for key, value in pair.theirs.state_dict().items()}
    images, pixels = images_of(pair.recipe, WORKS * PER_WORK)
    words_BL = words_of(pair.recipe, WORKS * PER_WORK)
    asked_BL = None if words_BL is None else torch.where(words_BL >= 4, words_BL, -100)
    works_B = torch.arange(WORKS).repeat_interleave(PER_WORK)
    rates = train_ours(pair, Batch(images, works_B, words_BL, asked_BL), upstream.get("center_weight", 0.0))
    train_theirs(pair.theirs, (pixels, words_BL, asked_BL, works_B), loss, {**upstream, "rates": rates})
    theirs = pair.theirs.state_dict()
    ours = as_restated(pair.ours.state_dict(), theirs, rules_of(pair.recipe.system, pair.theirs))
    apart = {key: float((ours[key] - cut(key, value, ours[key])).abs().max()) for key, value in theirs.items()}
    worst = max(apart, key=lambda key: apart[key])
    assert apart[worst] < TOLERANCE, worst
    still = [key for key in theirs if key.endswith("weight") and torch.equal(theirs[key], start[key])]
    assert still == []


def train_ours(pair: Pair, batch: Batch, center_weight: float) -> list[dict[float, float]]:
    """Our step, five times; returns each step's learning rates by the groups' factors, tested by themselves."""
    recipe = pair.recipe
    losses = Criterion(recipe, NUM_WORKS, pair.ours.backbone.width)
    for centers in losses.buffers():
        assert center_weight
        centers.zero_()
    optimizer = build_optimizer(pair.ours, recipe)
    step = Step(recipe, pair.ours.train(), losses.train(), optimizer)
    rates = []
    for number in range(STEPS):
        moment = Moment(PLACE.epoch, number, PLACE.steps_per_epoch)
        set_learning_rate(optimizer, recipe, moment)
        rates.append({group["lr_factor"]: group["lr"] for group in optimizer.param_groups})
        step(batch)
    return rates


def train_theirs(network: nn.Module, batch: tuple[Any, ...], loss_of: Loss, upstream: dict[str, Any]) -> None:
    """Upstream's loop: a group for each weight, the biases' rate times its factor, decay for all of them."""
    pixels, words_BL, asked_BL, works_B = batch
    optimizer = upstream["kind"](
        [
            {"params": [weight], "factor": upstream.get("bias_factor", 1.0) if "bias" in name else 1.0}
            for name, weight in network.named_parameters()
            if weight.requires_grad
        ],
        lr=1.0,
        weight_decay=upstream["decay"],
        **{key: value for key, value in upstream.items() if key == "momentum"},
    )
    centers = upstream_losses.CenterLoss(NUM_WORKS, network.fc.in_features) if "center_weight" in upstream else None
    if centers is not None:
        nn.init.zeros_(centers.centers)
    network.train()
    for rates in upstream["rates"]:
        for group in optimizer.param_groups:
            group["lr"] = rates[group["factor"]]
        outputs = outputs_of(network, pixels, words_BL)
        loss = loss_of({**outputs, "asked": asked_BL} if asked_BL is not None else outputs, works_B)
        if centers is not None:
            loss = loss + upstream["center_weight"] * centers(outputs["features"][0], works_B)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if centers is not None:
            with torch.no_grad():
                # upstream divides the weight out of the centers' gradient
                centers.centers -= centers.lr * centers.centers.grad / upstream["center_weight"]
            centers.zero_grad()
