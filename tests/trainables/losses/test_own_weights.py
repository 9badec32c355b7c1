"""Losses from outside whose weights are trained: in the optimizer, clipped, in the checkpoint, and the same resumed."""

import dataclasses

import pytest
import torch
from pytorch_metric_learning.losses import ProxyNCALoss
from torch import nn

from shards_tools.errors import Error
from tests.trainables.reports import Reports, assert_equal, state_of
from trainables import register_id_loss, register_metric_loss
from trainables.data.batches import Batch
from trainables.losses.criterion import Criterion
from trainables.models import build_model
from trainables.models.model import Outputs
from trainables.recipes.settings import override
from trainables.training.loop import train
from trainables.training.optimizer import build_optimizer
from trainables.training.step import Step

PROXIES = "metric_losses.0.loss.proxies"
pytestmark = pytest.mark.usefixtures("own_code")


def proxies_of(folder, epoch):
    return torch.load(folder / str(epoch) / "state.pt", weights_only=True)["losses"][PROXIES]


def stepper(recipe, num_works=4):
    """A step of a model that is always the same, and its losses."""
    torch.manual_seed(0)
    model = build_model(recipe, num_works).train()
    losses = Criterion(recipe, num_works, model.backbone.width, model.backbone.num_branches)
    return Step(recipe, model, losses, build_optimizer(model, recipe, losses)), model, losses


def batch_of(num_images=16):
    draw = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (num_images, 24, 24, 3), dtype=torch.uint8, generator=draw)
    return Batch(images, torch.arange(num_images) // 4)


def test_the_proxies_move_in_every_epoch_and_a_second_training_moves_them_alike(small_recipe, manifest, tmp_path):
    recipe = small_recipe(metric_loss="proxy_nca", epochs=2)
    runs = [Reports(tmp_path / name) for name in ("one", "two")]
    for reports in runs:
        train(recipe, manifest, report=reports, seed=3)
    first, second = (proxies_of(runs[0].folder, epoch) for epoch in (1, 2))
    assert (first - second).abs().max() > 1e-4
    assert runs[0].lasting() == runs[1].lasting()
    assert torch.equal(second, proxies_of(runs[1].folder, 2))


@pytest.mark.parametrize("more", [{}, {"ema_decay": 0.8}, {"micro_batch": 5}])
def test_a_training_with_proxies_resumes_bit_for_bit(small_recipe, manifest, tmp_path, more):
    recipe = small_recipe(metric_loss="proxy_nca", **more)
    whole, resumed = Reports(tmp_path / "whole"), Reports(tmp_path / "resumed")
    train(recipe, manifest, report=whole)
    train(recipe, manifest, report=resumed, resume=whole.folder / "1")
    assert resumed.lasting() == whole.lasting()
    assert_equal(state_of(resumed.folder / "3"), state_of(whole.folder / "3"))


def test_a_step_moves_the_proxies_by_the_librarys_own_gradient(small_recipe):
    recipe = small_recipe(
        metric_loss="proxy_nca", metric_weight=0.5, optimizer="sgd", lr=0.01, momentum=0.0, weight_decay=0.0
    )
    step, model, losses = stepper(recipe)
    before = losses.state_dict()[PROXIES].clone()
    theirs = ProxyNCALoss(4, model.backbone.width, softmax_scale=3)
    theirs.load_state_dict({"proxies": before.clone()})
    with torch.no_grad():
        features_BD = model.backbone(batch_of().images)["branches"][:, 0]
    (0.5 * theirs(features_BD, batch_of().labels)).backward()
    step(batch_of())
    torch.testing.assert_close(losses.state_dict()[PROXIES], before - 0.01 * theirs.proxies.grad, rtol=1e-4, atol=1e-7)


def test_the_gradient_of_the_proxies_counts_in_its_length_and_is_clipped(small_recipe):
    recipe = small_recipe(metric_loss="proxy_nca", metric_weight=1000.0, lr=1e-9)
    lengths = []
    for changed in (recipe, dataclasses.replace(recipe, clip_norm=0.5)):
        step, model, losses = stepper(changed)
        step(batch_of())
        weights = [*model.parameters(), *losses.parameters()]
        lengths.append(torch.cat([weight.grad.flatten() for weight in weights if weight.grad is not None]).norm())
    assert lengths[0] > 1
    assert lengths[1].item() == pytest.approx(0.5, rel=1e-3)


def test_a_batch_in_parts_gives_the_proxies_the_gradient_of_the_whole(small_recipe):
    gradients = []
    for micro_batch in (None, 3):
        step, _, losses = stepper(small_recipe(metric_loss="proxy_nca", micro_batch=micro_batch, lr=1e-9))
        step(batch_of())
        gradients.append(losses.get_parameter(PROXIES).grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-6)


def test_every_branch_has_proxies_of_its_own_and_losses_without_weights_share_one(small_recipe):
    recipe = small_recipe(jpm=True, stride_px=6, metric_loss="proxy_nca")
    _, model, losses = stepper(recipe)
    assert len(losses.metric_losses) == model.backbone.num_branches == 5
    assert len({proxies.data_ptr() for proxies in losses.parameters()}) == 5
    assert len(losses.id_losses) == 1


def test_an_id_loss_of_logits_trains_its_weights_and_leaves_the_linear_classifier(small_recipe):
    step, model, losses = stepper(small_recipe(id_loss="scaled_softmax", label_smoothing=0.1))
    assert isinstance(model.head.classifiers[0], nn.Linear)
    step(batch_of())
    assert losses.id_losses[0].loss.scale.item() != 1.0


def test_an_id_loss_may_ask_for_cosines(small_recipe):
    seen = []

    def loss(cosines_BN, works_B):
        seen.append(cosines_BN)
        return cosines_BN.square().mean()

    def make(recipe):
        return loss

    register_id_loss("of_cosines", make, cosine=True)
    step, _, _ = stepper(small_recipe(id_loss="of_cosines", sub_centers=2))
    step(batch_of())
    assert seen[0].abs().max() <= 1.001


@pytest.mark.parametrize("micro_batch", [None, 5])
@pytest.mark.parametrize("hide", [lambda loss: lambda *both: loss(*both), lambda loss: loss.forward])
def test_weights_that_no_module_shows_are_refused_instead_of_staying_untrained(small_recipe, hide, micro_batch):
    register_metric_loss(
        "hidden", lambda recipe, num_classes, feature_dim: hide(ProxyNCALoss(num_classes, feature_dim))
    )
    step, _, _ = stepper(small_recipe(metric_loss="hidden", micro_batch=micro_batch))
    with pytest.raises(Error, match=r"metric_loss=hidden has weights that would not be trained\. Let its factory"):
        step(batch_of())


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda features_BD, works_B: features_BD, r"metric_loss=odd returned a tensor of shape \(8, 6\)"),
        (lambda features_BD, works_B: 1.0, "metric_loss=odd returned float. Let it return a scalar tensor"),
        (None, "metric_loss=odd: its factory returned NoneType"),
    ],
)
def test_what_is_no_loss_is_named(small_recipe, loss, message):
    register_metric_loss("odd", lambda recipe: loss)
    outputs = Outputs([torch.randn(8, 4)], [torch.randn(8, 6)], {})
    with pytest.raises(Error, match=message):
        Criterion(small_recipe(metric_loss="odd"), 4, 6)(outputs, torch.arange(8) // 2)


def test_a_loss_without_need_of_positives_may_be_trained_on_shuffled_batches(small_recipe):
    assert override(small_recipe(), {"metric_loss": "proxy_nca", "batch_sampler": "shuffle"}).batch_sampler == "shuffle"
