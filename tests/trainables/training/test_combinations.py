"""The table of docs/guide/recipes.md: which ways to save time and memory work together, and that no number changes."""

import dataclasses
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.window.networks import build_parts, random_batch
from shards_tools.errors import Error
from trainables.models.model import recompute_activations
from trainables.recipes import get_recipe
from trainables.recipes.settings import override
from trainables.training.step import Step
from trainables.training.train_state import seed_everything

ROOT = Path(__file__).parents[3]
PLAIN = {"compiled": False, "activation_checkpointing": False, "micro_batch": None}
COMPILED, RECOMPUTED, PARTS = {"compiled": True}, {"activation_checkpointing": True}, {"micro_batch": 5}
ROWS = {"transformer": "transreid-vit-stride-tiny", "batch norm": "agw-tiny"}
COMBINATIONS = {
    "compiled": COMPILED,
    "activation_checkpointing": RECOMPUTED,
    "micro_batch": PARTS,
    "compiled, activation_checkpointing": COMPILED | RECOMPUTED,
    "compiled, micro_batch": COMPILED | PARTS,
    "activation_checkpointing, micro_batch": RECOMPUTED | PARTS,
    "compiled, activation_checkpointing, micro_batch": COMPILED | RECOMPUTED | PARTS,
}


@pytest.fixture(autouse=True)
def _without_code_generation(monkeypatch):
    """AOTAutograd differentiates and recomputes as for a GPU; generating code takes minutes."""
    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))


def two_steps(name, **settings):
    """Return losses, running statistics and weights after two steps."""
    changes = {"pretrained": False, "lr": 1e-3, "works_per_batch": 4, "images_per_work": 3, "erase_probability": 0.0}
    recipe = override(get_recipe(name), changes | {"drop_path": 0.0} if "transreid" in name else changes)
    recipe = dataclasses.replace(recipe, **settings)
    torch.manual_seed(0)
    model, criterion, optimizer = build_parts(recipe)
    step, batch = Step(recipe, model, criterion, optimizer), random_batch(recipe)
    seed_everything(0, 1)
    return [{name: loss.item() for name, loss in step(batch).items()} for _ in range(2)], model.state_dict()


@pytest.mark.parametrize(
    "settings",
    [pytest.param(each, marks=pytest.mark.slow if "compiled" in each else ()) for each in COMBINATIONS.values()],
    ids=COMBINATIONS,
)
@pytest.mark.parametrize("network", ROWS)
def test_a_combination_changes_no_number_or_is_refused(network, settings):
    if network == "batch norm" and "micro_batch" in settings:
        with pytest.raises(Error, match="the batch norms of resnet18_32 would see parts of a batch"):
            two_steps(ROWS[network], **settings)
        return
    expected, weights = two_steps(ROWS[network])
    found, found_weights = two_steps(ROWS[network], **settings)
    for step, expected_step in zip(found, expected, strict=True):
        assert step == pytest.approx(expected_step, rel=1e-3)
    for name, value in weights.items():  # running statistics count each batch once
        torch.testing.assert_close(found_weights[name], value, rtol=1e-2, atol=1e-4)


def test_synchronized_batch_norms_are_recomputed_without_counting_a_batch_twice():
    def after_a_step(recompute):
        torch.manual_seed(0)
        layers = nn.SyncBatchNorm.convert_sync_batchnorm(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
        if recompute:
            recompute_activations([layers])
        layers(torch.ones(2, 3, 8, 8)).square().sum().backward()
        return layers.state_dict() | {name: weight.grad for name, weight in layers.named_parameters()}

    expected, found = after_a_step(False), after_a_step(True)
    assert expected["1.num_batches_tracked"] == found["1.num_batches_tracked"] == 1
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_step_in_half_the_digits_learns_about_the_same(precision):
    expected, _ = two_steps(ROWS["transformer"])
    found, _ = two_steps(ROWS["transformer"], precision=precision, clip_norm=10.0)
    assert found[1]["loss"] == pytest.approx(expected[1]["loss"], rel=0.05)
    assert found[1]["loss"] != expected[1]["loss"]


def test_the_guide_has_the_table():
    text = (ROOT / "docs" / "guide" / "recipes.md").read_text()
    for combination in COMBINATIONS:
        assert f"| {combination} |" in text.replace("`", "")
