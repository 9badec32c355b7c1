"""Any model of timm's as `backbone=timm/NAME`: its config, its sizes, and that it trains."""

import dataclasses
import logging
import random
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import get_pretrained_cfg

from shards_tools.errors import Error
from tests.trainables.reports import Reports
from trainables.models import build_model, timm_models
from trainables.recipes import get_recipe, recipe_from_dict
from trainables.recipes.recipe import Recipe
from trainables.recipes.settings import override, parse_settings
from trainables.train import main
from trainables.training.loop import train
from trainables.training.optimizer import depths_below_head

pytestmark = pytest.mark.integration

NAMES = timm.list_models()
SOME = random.Random(19).sample(NAMES, 25)
# Models that give no feature vector at the size of timm's own config -> the reason.
NO_CLASSIFIER = "an encoder for another model, without a classifier or a pooled feature"
WITHOUT_FEATURE = {
    **dict.fromkeys(("deepseek_vit_412m_enc", "gemma4_vit_167m_enc", "gemma4_vit_570m_enc"), NO_CLASSIFIER),
    **dict.fromkeys(("mobilenetv5_300m_enc", "qwen3_vit_88m_enc", "qwen3_vit_306m_enc"), NO_CLASSIFIER),
    "qwen3_vit_416m_enc": NO_CLASSIFIER,
}
# One model of each of 20 families, the smallest that are quick on a CPU, and the px that they are trained at.
FAMILIES = {
    "resnet10t": 32,
    "vit_tiny_patch16_224": 32,
    "convnext_atto": 32,
    "mobilenetv3_small_050": 32,
    "efficientnet_lite0": 32,
    "regnetx_002": 32,
    "lcnet_035": 32,
    "ghostnet_050": 32,
    "hardcorenas_a": 32,
    "densenet121": 32,
    "edgenext_xx_small": 64,
    "mobilevit_xxs": 64,
    "levit_128s": 64,
    "swin_tiny_patch4_window7_224": 32,
    "deit_tiny_patch16_224": 32,
    "xcit_nano_12_p16_224": 32,
    "mixer_s32_224": 64,
    "resmlp_12_224": 32,
    "poolformer_s12": 32,
    "repvgg_a0": 32,
}


def native(name: str) -> Recipe:
    settings = {"backbone": f"timm/{name}", "image_size": "native", "pretrained": False}
    return override(get_recipe("open"), settings)


def shapes_of(recipe: Recipe) -> Any:
    """The recipe's model without values."""
    with torch.device("meta"):
        return build_model(recipe, 3).eval()


def check(name: str) -> None:
    """Build the model at its own size, and compare what it promises with what it gives."""
    recipe = native(name)
    model = shapes_of(recipe)
    images = torch.empty(2, *recipe.size, 3, dtype=torch.uint8, device="meta")
    with torch.inference_mode():
        assert model.backbone(images)["branches"].shape == (2, 1, model.num_features)
    depths = depths_below_head(model)
    assert {key for key, _ in model.named_parameters() if key.startswith("backbone.")} == set(depths)


@pytest.mark.parametrize("name", SOME)
def test_one_of_25_drawn_models_is_built_and_gives_its_feature(name):
    if name in WITHOUT_FEATURE:
        pytest.skip(WITHOUT_FEATURE[name])
    check(name)


def test_a_model_that_timm_made_for_an_upright_size_keeps_it():
    assert native("vit_base_patch16_sapiens2").image_size == "1024x768"
    check("vit_base_patch16_sapiens2")


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "vit_tiny_patch16_224", "convnext_atto"])
def test_a_rectangular_model_gives_what_timms_own_of_that_size_gives(name):
    torch.manual_seed(0)
    settings = {"backbone": f"timm/{name}", "image_size": "64x32", "pretrained": False, "drop_path": 0.0}
    model = build_model(override(get_recipe("open"), settings), 3).eval()
    sized = {} if name.startswith("convnext") else {"img_size": (64, 32)}
    theirs = timm.create_model(name, num_classes=0, **sized).eval()
    theirs.load_state_dict(model.backbone.network.state_dict(), strict=False)
    images = torch.randint(0, 256, (2, 64, 32, 3), dtype=torch.uint8)
    expected = theirs(model.backbone.input_step(images))
    torch.testing.assert_close(model.backbone(images)["branches"][:, 0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_99_of_100_models_are_built_and_give_their_feature():
    failures = {}
    for name in NAMES:
        try:
            check(name)
        except Exception as failure:
            failures[name] = f"{type(failure).__name__}: {failure}"
    print("\n".join(f"{name}: {reason}" for name, reason in failures.items()))
    assert set(failures) == set(WITHOUT_FEATURE)
    assert len(failures) <= 0.01 * len(NAMES)


@pytest.mark.parametrize("name", ["resnet10t.c3_in1k", "vit_tiny_patch16_224", "mobilenetv3_small_050", "vgg11"])
def test_the_feature_is_what_timms_own_model_gives_without_its_classifier(name):
    torch.manual_seed(0)
    recipe = dataclasses.replace(native(name), drop_path=0.0)
    model = build_model(recipe, 3).eval()
    theirs = timm.create_model(name, num_classes=0).eval()
    theirs.load_state_dict(model.backbone.network.state_dict(), strict=False)
    config = get_pretrained_cfg(name)
    size = config.input_size[1]
    images = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8)
    mean, std = (torch.tensor(value)[:, None, None] for value in (config.mean, config.std))
    expected = theirs((images.permute(0, 3, 1, 2) / 255 - mean) / std)
    torch.testing.assert_close(model.backbone(images)["branches"][:, 0], expected, rtol=1e-4, atol=1e-4)


def test_normalization_comes_from_timms_config_unless_it_is_set():
    tiny = get_recipe("open-tiny")
    assert tiny.pixel_mean == (0.5, 0.5, 0.5)
    set_alone = override(tiny, {"backbone": "timm/resnet10t"})
    assert (set_alone.pixel_mean, set_alone.pixel_std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    own = override(tiny, {"pixel_mean": (0.1, 0.2, 0.3), "backbone": "timm/resnet10t"})
    assert (own.pixel_mean, own.pixel_std) == ((0.1, 0.2, 0.3), (0.229, 0.224, 0.225))
    assert recipe_from_dict(dataclasses.asdict(own)) == own
    assert override(set_alone, {"lr": 0.5}).pixel_mean == set_alone.pixel_mean


def test_the_image_size_stays_the_recipes_unless_it_is_native():
    tiny = get_recipe("open-tiny")
    assert override(tiny, {"backbone": "timm/vit_tiny_patch16_224"}).image_size == 64
    words = ["backbone=timm/vit_tiny_patch16_384", "image_size=native"]
    assert override(tiny, parse_settings(words, tiny)).image_size == 384
    with pytest.raises(Error, match="image_size=native works only with backbone=timm/NAME"):
        override(tiny, {"image_size": "native"})
    with pytest.raises(Error, match="image_size=native is invalid: it must be an integer"):
        parse_settings(["image_size=native"], get_recipe("agw-tiny"))


def test_a_model_of_a_fixed_size_is_built_for_the_recipes_size():
    model = shapes_of(override(get_recipe("open-tiny"), {"backbone": "timm/vit_tiny_patch16_224", "image_size": 48}))
    assert model.backbone.network.patch_embed.img_size == (48, 48)
    assert model.num_tokens == 9


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"backbone": "timm/resnet10"}, "'timm/resnet10' is not a model of timm .* Did you mean timm/resnet10t"),
        ({"backbone": "timm/resnet10t.c3"}, r"is not a model of timm .* Did you mean timm/resnet10t\.c3_in1k"),
        (
            {"backbone": "timm/halonet26t", "image_size": "64x48"},
            r"timm/halonet26t does not take images of 64x48 px \(.*\)\. Set image_size=256, the size it was made for",
        ),
        ({"backbone": "timm/resnet34_does_not_exist"}, "is not a model of timm"),
        ({"backbone": "timm/tf_efficientnet_b0_pruned"}, "is not a model of timm"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_with_the_way_out(values, message):
    with pytest.raises(Error, match=message) as caught:
        override(get_recipe("open-tiny"), values)
    assert len(str(caught.value)) < 400


def test_weights_that_timm_does_not_have_are_refused(monkeypatch):
    bare = dataclasses.replace(timm_models.timm_backbone("timm/resnet10t"), pretrained_name=None)
    monkeypatch.setattr(timm_models, "timm_backbone", lambda name: bare)
    with pytest.raises(Error, match=r"'timm/resnet10t' has no .* Set pretrained=false, or add weights_file=FILE"):
        override(get_recipe("open"), {"backbone": "timm/resnet10t"})


def test_a_model_without_stochastic_depth_says_that_it_does_not_use_it(caplog):
    with caplog.at_level(logging.INFO, logger="trainables"):
        shapes_of(override(native("vgg11"), {"drop_path": 0.1}))
    assert "timm/vgg11 has no stochastic depth: drop_path=0.1 is not used" in caplog.text
    dropping = shapes_of(override(native("resnet10t"), {"drop_path": 0.3}))
    assert max(getattr(module, "drop_prob", 0) or 0 for module in dropping.modules()) == pytest.approx(0.3)


def test_weights_from_a_file_and_from_the_hubs_cache_fill_the_model(tmp_path, monkeypatch):
    torch.manual_seed(0)
    source = timm.create_model("resnet10t")
    save_file(source.state_dict(), tmp_path / "model.safetensors")
    recipe = override(get_recipe("open-tiny"), {"backbone": "timm/resnet10t.c3_in1k", "pretrained": True})
    from_file = build_model(override(recipe, {"weights_file": str(tmp_path / "model.safetensors")}), 3)
    place = tmp_path / "hub" / "models--timm--resnet10t.c3_in1k"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    (place / "snapshots" / ("0" * 40)).mkdir(parents=True)
    (tmp_path / "model.safetensors").rename(place / "snapshots" / ("0" * 40) / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    from_hub = build_model(recipe, 3)
    for model in (from_file, from_hub):
        for key, value in model.backbone.network.state_dict().items():
            assert torch.equal(value, source.state_dict()[key]), key


def test_the_command_trains_a_model_of_timms(manifest, tmp_path, capsys):
    words = ["--recipe", "open-tiny", "--data", str(manifest.store), "--out", str(tmp_path / "out"), "--epochs", "1"]
    settings = ["backbone=timm/resnet10t.c3_in1k", "image_size=32", "works_per_batch=4", "images_per_epoch=none"]
    main([*words, "--set", *settings])
    assert "mAP" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_of_every_family_trains_for_an_epoch(name, manifest, tmp_path):
    settings = {"backbone": f"timm/{name}", "image_size": FAMILIES[name], "works_per_batch": 4, "images_per_work": 4}
    recipe = override(get_recipe("open-tiny"), {**settings, "epochs": 1, "images_per_epoch": 48})
    reports = Reports(tmp_path)
    train(recipe, manifest, report=reports)
    assert 0 < reports.metrics[-1]["mAP"] <= 1
