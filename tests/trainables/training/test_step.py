"""One step: parts of a batch give the gradient of the whole, memory is saved without changing a number."""

import copy
import dataclasses

import pytest
import torch
from timm.utils import ModelEmaV3

from shards_tools.errors import Error
from trainables.data.batches import Batch
from trainables.device import Device
from trainables.losses.criterion import Criterion
from trainables.models import build_model
from trainables.recipes import get_recipe
from trainables.recipes.settings import override
from trainables.training.optimizer import build_optimizer
from trainables.training.step import Step
from trainables.training.train_state import prepare, seed_everything


def batch_of(size=24, num_images=16):
    draw = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (num_images, size, size, 3), dtype=torch.uint8, generator=draw)
    return Batch(images, torch.arange(num_images) // 4)


def small_agw(**values):
    return override(get_recipe("agw-tiny"), {"backbone": "resnet50_16", "image_size": 32, **values})


def gradients_after(recipe, batch):
    """The gradients of one step, by name, of a model that is always the same, and the losses."""
    torch.manual_seed(0)
    model = build_model(recipe, 4).train()
    losses = Criterion(recipe, 4, model.backbone.width)
    step = Step(recipe, model, losses, build_optimizer(model, dataclasses.replace(recipe, lr=1e-9)))
    seed_everything(1, 0)
    values = {name: loss.item() for name, loss in step(batch).items()}
    return (
        {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.requires_grad},
        values,
        model,
    )


def assert_near(found, expected, tolerance=1e-4):
    assert found.keys() == expected.keys()
    largest = max(gradient.abs().max().item() for gradient in expected.values())
    for name, gradient in expected.items():
        scale = gradient.abs().max().item() + 1e-3 * largest  # what should be 0 is rounding alone
        assert (found[name] - gradient).abs().max().item() <= tolerance * scale, name


@pytest.mark.parametrize("micro_batch", [1, 5, 8, 16])
@pytest.mark.parametrize("metric_loss", ["soft_triplet", "wrt", "supcon"])
def test_a_batch_in_parts_has_the_gradient_of_the_whole_metric_losses_included(small_recipe, micro_batch, metric_loss):
    recipe = small_recipe(jpm=True, stride_px=6, metric_loss=metric_loss)
    expected, losses, _ = gradients_after(recipe, batch_of())
    found, losses_of_parts, _ = gradients_after(dataclasses.replace(recipe, micro_batch=micro_batch), batch_of())
    assert losses_of_parts == pytest.approx(losses, rel=1e-5)
    assert_near(found, expected)


def test_a_triplet_within_each_part_alone_would_be_another_loss(small_recipe):
    recipe, batch = small_recipe(), batch_of()
    _, whole, _ = gradients_after(recipe, batch)
    parts = [gradients_after(recipe, part)[1]["metric_loss"] for part in batch.split(8)]
    assert abs(sum(parts) / 2 - whole["metric_loss"]) > 1e-3 * whole["metric_loss"]


def test_the_second_time_a_part_meets_the_same_random_numbers(small_recipe):
    recipe = small_recipe(drop_path=0.4, erase_probability=0.9, micro_batch=16)  # one part: the draws of the whole
    expected, _, _ = gradients_after(dataclasses.replace(recipe, micro_batch=None), batch_of())
    found, _, _ = gradients_after(recipe, batch_of())
    assert_near(found, expected)


def test_parts_are_refused_where_batch_norms_would_see_them():
    recipe = small_agw(micro_batch=4)
    with pytest.raises(Error, match="`micro_batch=4` the batch norms of resnet50_16 would see parts of a batch"):
        gradients_after(recipe, batch_of(32))


@pytest.mark.parametrize(
    "recipe",
    [get_recipe("transreid-vit-stride-tiny"), small_agw(non_local="dot", erase_probability=0.5)],
    ids=["transreid", "agw"],
)
def test_activations_that_are_made_again_change_nothing(recipe):
    batch = batch_of(recipe.image_size)
    expected, losses, plain = gradients_after(recipe, batch)
    found, losses_again, model = gradients_after(dataclasses.replace(recipe, activation_checkpointing=True), batch)
    assert losses_again == losses
    assert_near(found, expected, 1e-6)
    for (name, value), (_, other) in zip(plain.named_buffers(), model.named_buffers(), strict=True):
        assert torch.equal(value, other), name  # batch statistics are counted once


def test_the_gradient_is_as_long_as_the_recipe_allows(small_recipe):
    batch = batch_of()
    free, _, _ = gradients_after(small_recipe(), batch)
    length = torch.cat([gradient.flatten() for gradient in free.values()]).norm().item()
    cut, _, _ = gradients_after(small_recipe(clip_norm=length / 4), batch)
    assert torch.cat([gradient.flatten() for gradient in cut.values()]).norm().item() == pytest.approx(length / 4, 1e-4)
    uncut, _, _ = gradients_after(small_recipe(clip_norm=length * 4), batch)
    assert all(torch.equal(uncut[name], gradient) for name, gradient in free.items())


def test_channels_last_gives_the_same_losses():
    recipe = small_agw()
    _, expected, _ = gradients_after(recipe, batch_of(32))
    _, found, _ = gradients_after(dataclasses.replace(recipe, channels_last=True), batch_of(32))
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_backbone_in_bfloat16_has_losses_in_float32_near_those_of_float32(small_recipe):
    _, expected, _ = gradients_after(small_recipe(), batch_of())
    found_gradients, found, _ = gradients_after(small_recipe(precision="bf16"), batch_of())
    assert found == pytest.approx(expected, rel=2e-2)
    assert found != expected
    assert {gradient.dtype for gradient in found_gradients.values()} == {torch.float32}


@pytest.mark.slow
def test_a_compiled_backbone_gives_the_same_gradient(small_recipe):
    expected, losses, _ = gradients_after(small_recipe(jpm=True, stride_px=6), batch_of())
    found, compiled_losses, _ = gradients_after(small_recipe(jpm=True, stride_px=6, compiled=True), batch_of())
    assert compiled_losses == pytest.approx(losses, rel=1e-4)
    assert_near(found, expected, 1e-3)


def test_of_a_frozen_backbone_nothing_moves_and_of_the_head_all(small_recipe):
    torch.manual_seed(0)
    recipe = small_recipe(frozen_backbone=True)
    model = build_model(recipe, 4).train()
    before = copy.deepcopy(model.state_dict())
    step = Step(recipe, model, Criterion(recipe, 4, 64), build_optimizer(model, recipe))
    step(batch_of())
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {
        f"head.necks.0.{name}" for name in ("weight", "running_mean", "running_var", "num_batches_tracked")
    } | {"head.classifiers.0.weight"}


def test_the_running_mean_is_timms(small_recipe, manifest):
    training = prepare(small_recipe(ema_decay=0.9), manifest, fold=0, seed=0, device=Device("cpu"))
    oracle = ModelEmaV3(training.model, decay=0.9)
    assert training.evaluated_model is not training.model
    training.step(batch_of())
    training.averaged.update(training.model)
    oracle.update(training.model)
    for value, other in zip(
        training.evaluated_model.state_dict().values(), oracle.module.state_dict().values(), strict=True
    ):
        assert torch.equal(value, other)
