"""Every row at paper scale on CUDA tensors that have shapes and no content: no operation mixes devices, none waits.

torch's fake tensors need no GPU and refuse operations on tensors of two devices, as a GPU does. They cannot run a
backward pass: tests/trainables/training/test_waits.py runs it on a CPU.
"""

import dataclasses

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.launches import Operations
from benchmarks.window.networks import build_parts, random_batch
from trainables.device import Device, to_device
from trainables.evaluation.evaluate import places_of_classes
from trainables.losses.registry import ID_LOSSES, METRIC_LOSSES
from trainables.recipes import RECIPES, get_recipe
from trainables.recipes.recipe import ClassifierRecipe, Recipe
from trainables.recipes.settings import override, settings_of
from trainables.training.optimizer import build_optimizer
from trainables.training.step import Step

NUM_WORDS = 30


class FakeCuda(Device):
    """A GPU without streams."""

    is_gpu = True

    def __init__(self) -> None:
        self.torch_device = torch.device("cuda")

    def upload(self, tensor: torch.Tensor) -> torch.Tensor:
        return to_device(tensor, self.torch_device)


def rows() -> list[Recipe]:
    """Every recipe at paper scale, one of those whose networks and losses have the same settings."""
    numbers = {"lr", "epochs", "weight_decay", "warmup_epochs", "milestones", "batch_size", "images_per_epoch"}
    different = {}
    for recipe in RECIPES.values():
        if recipe.scale == "paper":
            settings = {key: value for key, value in settings_of(recipe).items() if key not in numbers}
            different.setdefault((type(recipe), str(settings)), recipe)
    base = get_recipe("transreid-vit-base")
    different |= {name: override(base, {"metric_loss": name, "center_weight": 0.001}) for name in METRIC_LOSSES}
    different |= {f"id {name}": override(base, {"id_loss": name, "label_smoothing": 0.0}) for name in ID_LOSSES}
    different["checkpointing"] = override(base, {"activation_checkpointing": True})
    return list(different.values())


@pytest.fixture(autouse=True)
def _no_gpu_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda *args, **kwargs: True)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)


def on_fake_cuda(module: nn.Module) -> None:
    """Replace the weights and buffers of a module on the meta device."""
    for part in module.modules():
        for name, weight in part._parameters.items():
            if weight is not None:
                value = torch.empty_like(weight, device="cuda")
                part._parameters[name] = nn.Parameter(value, requires_grad=weight.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = torch.empty_like(buffer, device="cuda")


def one_of_each_family(recipes: list[Recipe]) -> list[Recipe]:
    return list({recipe.system: recipe for recipe in reversed(recipes)}.values())


FAST = one_of_each_family(rows())
ALL = [pytest.param(recipe, marks=() if recipe in FAST else pytest.mark.slow) for recipe in rows()]


@pytest.mark.parametrize("recipe", ALL, ids=lambda recipe: f"{recipe.name} {recipe.id_loss}")
def test_a_row_trains_and_evaluates_on_a_gpu_without_mixing_devices_or_waiting(recipe: Recipe) -> None:
    batch_size = {"batch_size": 16} if isinstance(recipe, ClassifierRecipe) else {"works_per_batch": 4}
    recipe = dataclasses.replace(recipe, pretrained=False, weights_file=None, images_per_epoch=None, **batch_size)
    num_words = NUM_WORDS if getattr(recipe, "text_tokens", 0) else 0
    model, criterion, _ = build_parts(recipe, num_words=num_words, device=torch.device("meta"))
    with FakeTensorMode(allow_non_fake_inputs=True):
        on_fake_cuda(model)
        on_fake_cuda(criterion)
        optimizer = build_optimizer(model, recipe, criterion)
        batch = random_batch(recipe, num_words=num_words).to(FakeCuda())
        step = Step(recipe, model, criterion, optimizer, device=FakeCuda())
        with Operations() as operations:
            losses = criterion(model.head(step._features(batch)), batch.labels, batch.asked)
            model.eval()
            with torch.inference_mode():
                features_BD, logits_BN = (
                    model.embed(batch.images, batch.words),
                    model.classify(batch.images, batch.words),
                )
                places_B = places_of_classes(logits_BN, batch.labels)
    devices = {value.device.type for value in (*losses.values(), features_BD, logits_BN, places_B)}
    assert devices == {"cuda"}
    assert operations.waits.total() == 0


def test_two_devices_are_noticed() -> None:
    with FakeTensorMode(), pytest.raises(Exception, match="device"):
        torch.ones(3, device="cuda") + torch.ones(3)
