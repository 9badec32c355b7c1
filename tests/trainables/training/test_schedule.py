"""The learning rate against the closed forms of the papers, computed by hand."""

import math

import pytest

from trainables.models import build_model
from trainables.recipes import get_recipe
from trainables.recipes.settings import override
from trainables.training.optimizer import build_optimizer, depths_below_head, set_learning_rate
from trainables.training.schedule import Moment, learning_rate

UPSTREAM = override(get_recipe("transreid-vit-base-upstream"), {"epochs": 100})


def shares(name, epochs, factor=1.0):
    """The learning rate at these epochs over the recipe's."""
    recipe = get_recipe(name)
    return [learning_rate(recipe, Moment(epoch), factor) / recipe.lr for epoch in epochs]


def test_transreids_own_warm_up_and_cosine_have_its_values_at_100_epochs():
    # shares of the base rate: (.01 + .198 t) before epoch 5, then .002 + .499 (1 + cos(pi t / 100))
    expected = {1: 0.208, 4: 0.802, 5: 0.99385648, 50: 0.501, 100: 0.002}
    for epoch, share in expected.items():
        assert learning_rate(UPSTREAM, Moment(epoch)) / UPSTREAM.lr == pytest.approx(share, abs=1e-8)


def test_lsasrds_text_starts_transreid_at_a_third_and_rises_for_five_epochs():
    third = 1 / 3
    rising = [third + 2 / 3 * e / 5 for e in range(5)]
    falling = [0.002 + 0.499 * (1 + math.cos(math.pi * t / 100)) for t in (6, 50, 100)]
    assert shares("transreid-vit-stride", (1, 2, 3, 4, 5, 6, 50, 100)) == pytest.approx([*rising, *falling])


def test_lsasrds_code_never_lets_transreid_come_above_0_372_of_its_rate():
    found = shares("transreid-vit-stride-code", range(1, 101))
    expected = [(1 / 3 + 2 / 3 * e / 500) * 0.1 ** ((e >= 30) + (e >= 60)) for e in range(100)]
    assert found == pytest.approx(expected)
    assert max(found) == pytest.approx(found[29]) == pytest.approx(0.372, abs=5e-4)


def test_agw_rises_from_1e_4_to_1e_2_in_ten_epochs_and_falls_at_40_and_80():
    recipe = get_recipe("agw-resnet50-nl")
    rates = [learning_rate(recipe, Moment(epoch)) for epoch in range(1, 101)]
    assert rates[0] == pytest.approx(1e-4)
    assert rates[:10] == pytest.approx([0.01 * (0.01 * (1 - e / 10) + e / 10) for e in range(10)])
    assert rates[10:40] == pytest.approx([1e-2] * 30)
    assert rates[40:80] == pytest.approx([1e-3] * 40)
    assert rates[80:] == pytest.approx([1e-4] * 20)


def test_the_rate_of_steps_rises_from_0_and_ends_at_0_as_huggingfaces_schedule(small_recipe):
    recipe = small_recipe(schedule="step_cosine", warmup_steps=10, epochs=4)
    rates = [learning_rate(recipe, Moment(1 + step // 25, step % 25, 25)) for step in range(100)]
    rising = [step / 10 for step in range(10)]
    falling = [0.5 * (1 + math.cos(math.pi * (step - 10) / 90)) for step in range(10, 100)]
    assert [rate / recipe.lr for rate in rates] == pytest.approx([*rising, *falling])


def test_the_recipe_says_how_long_the_warm_up_is():
    recipe = override(UPSTREAM, {"warmup_epochs": 10})
    assert learning_rate(recipe, Moment(9)) / recipe.lr == pytest.approx(0.01 + 9 * 0.99 / 10)
    assert learning_rate(recipe, Moment(10)) / recipe.lr == pytest.approx(0.002 + 0.499 * (1 + math.cos(math.pi / 10)))
    assert learning_rate(override(UPSTREAM, {"warmup_epochs": 0}), Moment(1)) / UPSTREAM.lr > 0.99


def test_biases_have_twice_the_rate_but_transreids_start_and_floor(small_recipe):
    own = {"schedule": "transreid", "warmup_start": 0.01, "warmup_epochs": 5}
    recipe = small_recipe(bias_lr_factor=2.0, epochs=100, lr=0.008, **own)
    assert learning_rate(recipe, Moment(100), factor=2.0) == pytest.approx(0.002 * 0.008)
    assert learning_rate(recipe, Moment(1), factor=2.0) == pytest.approx(0.01 * 0.008 + (2 - 0.01) * 0.008 / 5)
    model = build_model(recipe, 3)
    optimizer = build_optimizer(model, recipe)
    set_learning_rate(optimizer, recipe, Moment(50))
    rates = {id(weight): group["lr"] for group in optimizer.param_groups for weight in group["params"]}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            expected = learning_rate(recipe, Moment(50), 2.0 if name.endswith("bias") else 1.0)
            assert rates[id(weight)] == expected, name
        else:
            assert id(weight) not in rates


@pytest.mark.parametrize(("optimizer", "kind"), [("sgd", "SGD"), ("adam", "Adam"), ("adamw", "AdamW")])
def test_the_optimizer_is_the_recipes(small_recipe, optimizer, kind):
    recipe = small_recipe(optimizer=optimizer, momentum=0.7, weight_decay=0.03)
    built = build_optimizer(build_model(recipe, 3), recipe)
    assert type(built).__name__ == kind
    assert {group["weight_decay"] for group in built.param_groups} == {0.03}
    assert all(group.get("momentum", 0.7) == 0.7 for group in built.param_groups)


def test_vectors_decay_only_where_the_recipe_says_so(small_recipe):
    recipe = small_recipe(decay_vectors=False)
    groups = build_optimizer(build_model(recipe, 3), recipe).param_groups
    for group in groups:
        for weight in group["params"]:
            assert group["weight_decay"] == (recipe.weight_decay if weight.ndim > 1 else 0.0)
    assert len(groups) == 2


@pytest.mark.parametrize(
    ("name", "depths"),
    [
        ("transreid-tiny", {"patch_embed.proj.weight": 3, "trunk.0.norm1.weight": 2, "global_branch.norm.weight": 1}),
        ("agw-tiny", {"network.conv1.weight": 5, "network.layer1.0.conv1.weight": 4, "network.layer4.0.bn1.weight": 1}),
    ],
)
def test_each_layer_learns_slower_than_the_one_above_it(name, depths):
    recipe = override(get_recipe(name), {"layer_lr_decay": 0.5})
    model = build_model(recipe, 3)
    found = depths_below_head(model)
    assert {key: found[f"backbone.{key}"] for key in depths} == depths
    assert set(found) == {key for key, _ in model.named_parameters() if key.startswith("backbone.")}
    factors = {
        id(weight): group["lr_factor"]
        for group in build_optimizer(model, recipe).param_groups
        for weight in group["params"]
    }
    for key, weight in model.named_parameters():
        if weight.requires_grad:
            assert factors[id(weight)] == 0.5 ** found.get(key, 0)
