"""Recipes: what may be set, what is refused, that they survive JSON, and the papers' numbers of their rows."""

import dataclasses
import itertools
import json
from typing import get_args

import pytest

from shards_tools.batch_samplers import BATCH_SAMPLERS
from shards_tools.errors import Error
from trainables.recipes import RECIPES, get_recipe, printed_numbers, recipe_from_dict
from trainables.recipes.backbones import get_backbone
from trainables.recipes.recipe import IDENTITY_FIELDS
from trainables.recipes.settings import FORMER_KEYS, override, parse_settings, settable

TINY = RECIPES["transreid-tiny"]
FORMER_OF = {key: former for former, key in FORMER_KEYS.items()}
ROWS = sorted({(recipe.table, recipe.row) for recipe in map(get_recipe, RECIPES) if recipe.table})


def test_the_two_rows_of_the_paper_say_what_table_5_says():
    base, stride = get_recipe("transreid-vit-base"), get_recipe("transreid-vit-stride")
    for recipe in (base, stride):
        assert (recipe.table, recipe.scale, recipe.backbone) == ("LSASRD Table 5", "paper", "vit_base_patch16_224")
        assert (recipe.optimizer, recipe.lr, recipe.momentum, recipe.weight_decay) == ("sgd", 0.008, 0.9, 1e-4)
        assert (recipe.works_per_batch, recipe.images_per_work, recipe.epochs) == (16, 4, 100)
        assert (recipe.image_size, recipe.erase_probability, recipe.bias_lr_factor) == (256, 0.5, 2.0)
    assert (base.row, base.stride_px, base.jpm, base.num_patches) == ("ViT-Base", 16, False, 256)
    assert (stride.row, stride.stride_px, stride.jpm, stride.num_patches) == ("ViT-Stride", 12, True, 441)


def test_setting_a_field_leaves_the_others_as_they_were():
    changed = override(TINY, {"lr": 0.5, "jpm": True})
    assert changed == dataclasses.replace(TINY, lr=0.5, jpm=True)


def test_an_unknown_recipe_and_an_unknown_key_name_the_nearest():
    with pytest.raises(Error, match=r"Did you mean 'transreid-tiny'\? List them with: .*train --list\."):
        get_recipe("transreid-tny")
    with pytest.raises(Error, match=r"'stride_p' is not a known recipe key. Did you mean 'stride_px'"):
        override(TINY, {"stride_p": 4})


FORMER = {"optimiser": "sgd", "plan": "shuffle", "centre_weight": 0.1, "sub_centres": 2, "checkpointing": True}
OTHERS = {"metric_weight": 0.0, "id_loss": "arcface", "label_smoothing": 0.0}


def test_keys_may_be_given_under_their_former_names():
    recipe = override(TINY, {**FORMER, **OTHERS})
    assert (recipe.optimizer, recipe.batch_sampler) == ("sgd", "shuffle")
    assert (recipe.center_weight, recipe.sub_centers, recipe.activation_checkpointing) == (0.1, 2, True)
    assert override(TINY, parse_settings(["optimiser=sgd", "checkpointing=true"], TINY)).optimizer == "sgd"
    written = {FORMER_OF.get(key, key): value for key, value in dataclasses.asdict(recipe).items()}
    assert written.keys() >= FORMER.keys()
    assert recipe_from_dict(written) == recipe


def test_a_key_under_both_names_is_refused():
    with pytest.raises(Error, match=r"checkpointing is the former name of activation_checkpointing, and both are set."):
        override(TINY, {"checkpointing": True, "activation_checkpointing": True})
    with pytest.raises(Error, match=r"plan is the former name of batch_sampler, and both are set. Remove plan."):
        parse_settings(["plan=full", "batch_sampler=shuffle"], TINY)


def test_a_learning_rate_given_as_text_is_refused_with_a_hint():
    with pytest.raises(Error, match=r"lr='1e-3' is str, not a number. Write it as a number, without quotes"):
        override(TINY, {"lr": "1e-3"})


@pytest.mark.parametrize("key", IDENTITY_FIELDS)
def test_what_a_recipe_is_cannot_be_set(key):
    with pytest.raises(Error, match=f"{key} identifies the recipe transreid-tiny and cannot be set"):
        override(TINY, {key: "other"})
    with pytest.raises(Error, match=f"{key} identifies the recipe transreid-tiny and cannot be set"):
        parse_settings([f"{key}=other"], TINY)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lr": 0.0}, "lr=0.0 .* above 0"),
        ({"lr": float("nan")}, "lr=nan .* finite"),
        ({"epochs": True}, "epochs=True is bool, not an integer"),
        ({"epochs": 2.5}, "epochs=2.5 is float, not an integer"),
        ({"jpm": 1}, "jpm=1 is int, not true or false"),
        ({"erase_probability": 1.5}, "erase_probability=1.5 .* probability"),
        ({"optimizer": "adan"}, "'adan' is not a known optimizer. Did you mean 'adam'"),
        ({"backbone": "vit_96x5"}, "'vit_96x5' is not a known backbone"),
        ({"batch_sampler": "ful"}, "'ful' is not a known batch_sampler. Did you mean 'full'"),
        (
            {"batch_sampler": "shuffle"},
            "batch_sampler='shuffle' .* no positive, and metric_loss=soft_triplet needs one",
        ),
        (
            {"batch_sampler": "balanced", "metric_weight": 0.1},
            "batch_sampler='balanced' .* metric_loss=soft_triplet needs one",
        ),
        ({"images_per_work": 1}, "images_per_work=1 .* no image has a positive"),
        ({"works_per_batch": 1}, "works_per_batch=1 .* no image has a negative"),
        ({"images_per_epoch": 8}, "images_per_epoch=8 .* one batch of 64"),
        ({"pretrained": True}, "has no pretrained weights"),
        ({"weights_file": "x.pth"}, "weights_file='x.pth' .* none with .* To load the file, set pretrained=true"),
        ({"id_loss": "arcface", "label_smoothing": 0.1}, "label_smoothing=0.1 .* 0 with id_loss=arcface"),
        ({"sub_centers": 2}, "sub_centers=2 .* 1 with id_loss=softmax"),
        ({"milestones": [3, 2]}, r"milestones=\(3, 2\) .* each larger than the one before"),
        ({"milestones": "40"}, "milestones='40' is str, not integers, as in 40,80"),
        ({"ema_decay": 1.0}, "ema_decay=1.0 .* between 0 and 1"),
        ({"clip_norm": 0.0}, "clip_norm=0.0 .* above 0"),
        ({"warmup_start": 1.5}, "warmup_start=1.5 .* at most 1"),
        ({"layer_lr_decay": 1.2}, "layer_lr_decay=1.2 .* at most 1"),
        ({"micro_batch": 0}, "micro_batch=0 .* above 0"),
        ({"evaluation_px": 20}, "evaluation_px=20 .* 0, or at least image_size"),
        ({"stride_px": 99}, "stride_px=99 .* the patch size"),
        ({"image_size": 7}, "image_size=7 .* at least one patch"),
        ({"drop_path": 1.0}, "drop_path=1.0 .* below 1"),
        ({"jpm": True, "jpm_parts": 9999}, "jpm_parts=9999 .* at most"),
        ({"jpm": True, "jpm_groups": 7, "image_size": 48, "stride_px": 8}, "jpm_groups=7 divides neither"),
        ({"pixel_std": [0.5, 0.5]}, "pixel_std=.* one value per channel"),
        ({"pixel_std": "0.5"}, "pixel_std='0.5' is str, not three numbers"),
    ],
)
def test_a_value_that_does_not_do_is_named(values, message):
    with pytest.raises(Error, match=message):
        override(TINY, {"backbone": "vit_96x4", "stride_px": 8, **values})


def test_a_choice_that_is_not_there_is_refused_however_the_recipe_is_made():
    for name, key in (("agw-tiny", "non_local"), ("animesion-tiny", "masking"), ("transreid-tiny", "preset")):
        with pytest.raises(Error, match=rf"'zzz' is not a known {key}\. Known: \w+, \w+"):
            dataclasses.replace(RECIPES[name], **{key: "zzz"})
    assert dataclasses.replace(TINY, preset=None).preset is None


def test_every_batch_sampler_can_be_named_and_without_a_triplet_term_taken():
    assert get_args(settable(TINY)["batch_sampler"]) == tuple(BATCH_SAMPLERS)
    for name in BATCH_SAMPLERS:
        assert override(TINY, {"batch_sampler": name, "metric_weight": 0.0}).batch_sampler == name


def test_settings_from_the_command_line_are_read_as_their_fields_types():
    texts = ["lr=1e-2", "jpm=true", "images_per_epoch=none", "optimizer=sgd", "pixel_mean=0.1,0.2,0.3", "epochs=7"]
    expected = {
        "lr": 0.01,
        "jpm": True,
        "images_per_epoch": None,
        "optimizer": "sgd",
        "pixel_mean": (0.1, 0.2, 0.3),
        "epochs": 7,
    }
    assert parse_settings(texts, TINY) == expected
    assert all(getattr(override(TINY, expected), key) == value for key, value in expected.items())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr", "'lr' has no value"),
        ("lr=fast", "lr=fast is invalid: it must be a number"),
        ("jpm=1", "jpm=1 is invalid: it must be true or false"),
    ],
)
def test_a_setting_that_cannot_be_read_is_named(text, message):
    with pytest.raises(Error, match=message):
        parse_settings([text], TINY)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_survives_json(name):
    recipe = RECIPES[name]
    assert recipe_from_dict(json.loads(json.dumps(dataclasses.asdict(recipe)))) == recipe


def test_a_stored_recipe_that_lacks_a_field_or_has_a_strange_one_is_refused():
    values = dataclasses.asdict(TINY)
    with pytest.raises(Error, match="'speed' is not a known recipe key"):
        recipe_from_dict({**values, "speed": 1})
    values.pop("stride_px")
    with pytest.raises(Error, match=r"'transreid-tiny' lacks stride_px. Use the version that wrote it"):
        recipe_from_dict(values)


def test_a_stored_recipe_takes_the_default_of_a_setting_that_its_version_did_not_have():
    values = dataclasses.asdict(get_recipe("transreid-vit-base-tiny"))
    values.pop("train_resize")
    assert recipe_from_dict(values).train_resize == "bilinear"


@pytest.mark.parametrize(
    "backbone", ["legacy_seresnet_tiny", "legacy_seresnext_tiny", "vit_96x4_patch16", "resnet50_16"]
)
def test_a_stored_recipe_keeps_a_tiny_backbone_that_its_version_named(backbone):
    name = "animesion-l16-tiny" if backbone.startswith("vit") else "agw-se-resnet101-tiny"
    stored = {**json.loads(json.dumps(dataclasses.asdict(get_recipe(name)))), "backbone": backbone}
    assert recipe_from_dict(stored).backbone == backbone


def test_every_field_but_the_identity_may_be_set():
    fields = {field.name for field in dataclasses.fields(TINY)}
    assert set(settable(TINY)) == fields - set(IDENTITY_FIELDS)


NETWORK_KEYS = ("backbone", "stride_px", "jpm", "non_local", "stem_relu", "pooling", "head", "text_tokens")


@pytest.mark.parametrize("table", sorted({recipe.table for recipe in RECIPES.values() if recipe.table}))
def test_rows_of_a_table_that_are_different_networks_are_different_networks_at_tiny_scale(table):
    rows = [recipe for recipe in RECIPES.values() if recipe.table == table]

    def network(recipe):
        arguments = [getattr(recipe, key, None) for key in NETWORK_KEYS]
        arguments[0] = get_backbone(recipe.backbone)
        return str(arguments)

    for one, other in itertools.combinations(rows, 2):
        # rows with pretrained weights and without may share a network, as R-18 does
        same = network(get_recipe(f"{one.name}-tiny")) == network(get_recipe(f"{other.name}-tiny"))
        assert same == (one.backbone == other.backbone and network(one) == network(other)), (one.name, other.name)


@pytest.mark.parametrize("row", [recipe for recipe in RECIPES.values() if recipe.table == "LSASRD Table 5"])
def test_a_tiny_row_of_table_5_keeps_its_stride_and_its_jigsaw_branches(row):
    tiny = get_recipe(f"{row.name}-tiny")
    patches = get_backbone(row.backbone).patch_px, get_backbone(tiny.backbone).patch_px
    assert (tiny.jpm, tiny.stride_px / patches[1]) == (row.jpm, row.stride_px / patches[0])


@pytest.mark.parametrize(("table", "row"), ROWS)
def test_every_row_of_a_table_has_its_numbers(table: str, row: str) -> None:
    numbers = printed_numbers(table, row)
    assert numbers
    assert all(0 < number < 1 for number in numbers.values())
    if table.startswith("LSASRD"):  # means of five numbers with one decimal
        assert set(numbers) == {"mAP", "mINP", "cmc_1", "cmc_5"}
        assert [number for number in numbers.values() if round(10_000 * number) % 2] == []
        assert numbers["mINP"] < numbers["mAP"] < numbers["cmc_1"] < numbers["cmc_5"]


def test_numbers_that_everybody_quotes() -> None:
    assert printed_numbers("LSASRD Table 5", "ViT-Stride")["mAP"] == pytest.approx(0.4224)
    assert printed_numbers("LSASRD Table 4", "ResNet50")["mAP"] == pytest.approx(0.4084)
    assert printed_numbers("DAF:re Table 1", "L-16, pretrained") == pytest.approx({"top1": 0.8595, "top5": 0.9423})


def test_a_row_of_nobody_has_none() -> None:
    assert printed_numbers("LSASRD Table 5", "ResNet50") == {}
