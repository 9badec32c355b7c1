"""The learning rate against the numbers of TransReID's schedule, worked out by hand."""

import math

import pytest

from trainables.models import build_model
from trainables.optimiser import build_optimiser, set_learning_rate
from trainables.recipes import get_recipe, override
from trainables.schedule import learning_rate

PAPER = get_recipe("transreid-vit-base")


def test_warm_up_and_cosine_have_upstreams_values_at_100_epochs():
    # shares of the base rate: (.01 + .198 t) before epoch 5, then .002 + .499 (1 + cos(pi t / 100))
    expected = {1: 0.208, 4: 0.802, 5: 0.99385648, 50: 0.501, 100: 0.002}
    for epoch, share in expected.items():
        assert learning_rate(PAPER, epoch) / PAPER.lr == pytest.approx(share, abs=1e-8)


def test_the_recipe_says_how_long_the_warm_up_is():
    recipe = override(PAPER, {"warmup_epochs": 10})
    assert learning_rate(recipe, 9) / recipe.lr == pytest.approx(0.01 + 9 * 0.99 / 10)
    assert learning_rate(recipe, 10) / recipe.lr == pytest.approx(0.002 + 0.499 * (1 + math.cos(math.pi / 10)))
    assert learning_rate(override(PAPER, {"warmup_epochs": 0}), 1) / PAPER.lr > 0.99


def test_biases_have_twice_the_rate_but_the_same_start_and_floor(small_recipe):
    recipe = small_recipe(bias_lr_factor=2.0, warmup_epochs=5, epochs=100, lr=0.008)
    assert learning_rate(recipe, 100, factor=2.0) == pytest.approx(0.002 * 0.008)
    assert learning_rate(recipe, 1, factor=2.0) == pytest.approx(0.01 * 0.008 + (2 - 0.01) * 0.008 / 5)
    model = build_model(recipe, 3)
    optimiser = build_optimiser(model, recipe)
    set_learning_rate(optimiser, recipe, 50)
    rates = {id(weight): group["lr"] for group in optimiser.param_groups for weight in group["params"]}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            assert rates[id(weight)] == learning_rate(recipe, 50, 2.0 if name.endswith("bias") else 1.0), name
        else:
            assert id(weight) not in rates


@pytest.mark.parametrize(("optimiser", "kind"), [("sgd", "SGD"), ("adamw", "AdamW")])
def test_the_optimiser_is_the_recipes(small_recipe, optimiser, kind):
    recipe = small_recipe(optimiser=optimiser, momentum=0.7, weight_decay=0.03)
    built = build_optimiser(build_model(recipe, 3), recipe)
    assert type(built).__name__ == kind
    assert {group["weight_decay"] for group in built.param_groups} == {0.03}
    assert all(group.get("momentum", 0.7) == 0.7 for group in built.param_groups)
