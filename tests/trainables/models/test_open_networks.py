"""The family `open`: timm's networks as they are, their layers, and weights from hub and file."""

import dataclasses

import pytest
import timm
import torch
from safetensors.torch import save_file

from shards_tools.errors import Error
from trainables.models import build_model
from trainables.models.open_networks import OpenBackbone
from trainables.recipes import RECIPES, get_recipe
from trainables.recipes.backbones import BACKBONES
from trainables.recipes.settings import override
from trainables.training.optimizer import depths_below_head

TINY = [recipe for recipe in RECIPES.values() if recipe.system == "open" and recipe.scale == "tiny"]
PAPER = [recipe for recipe in RECIPES.values() if recipe.system == "open" and recipe.scale == "paper"]


def images_of(recipe):
    return torch.randint(0, 256, (4, *recipe.size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def network_of(recipe):
    """timm's own, made for the recipe's tiny backbone."""
    shape = BACKBONES[recipe.backbone]
    size = {"img_size": tuple(recipe.size)} if shape.sized else {}
    return timm.create_model(shape.architecture, num_classes=7, **shape.arguments, **size)


@pytest.mark.parametrize("image_size", [None, "64x32"])
@pytest.mark.parametrize("recipe", TINY, ids=lambda recipe: recipe.name)
def test_the_feature_is_what_timms_network_gives_before_its_classifier(recipe, image_size):
    recipe = recipe if image_size is None else dataclasses.replace(recipe, image_size=image_size)
    model = build_model(recipe, 3).eval()
    network = network_of(recipe).eval()
    network.reset_classifier(0)
    network.load_state_dict(model.backbone.network.state_dict())
    pixels_BCHW = model.backbone.input_step(images_of(recipe))
    torch.testing.assert_close(model.backbone(images_of(recipe))["branches"][:, 0], network(pixels_BCHW))


@pytest.mark.parametrize("recipe", TINY, ids=lambda recipe: recipe.name)
def test_every_weight_has_a_layer_and_gradients_reach_all(recipe):
    model = build_model(recipe, 3).train()
    depths = depths_below_head(model)
    assert set(depths) == {name for name, _ in model.named_parameters() if name.startswith("backbone.")}
    assert set(depths.values()) == set(range(1, max(depths.values()) + 1))
    outputs = model(images_of(recipe))
    sum(value.square().sum() for value in (*outputs.logits, *outputs.features)).backward()
    assert [name for name, weight in model.named_parameters() if weight.requires_grad and weight.grad is None] == []


@pytest.mark.integration
@pytest.mark.parametrize("recipe", PAPER, ids=lambda recipe: recipe.name)
def test_a_network_at_full_scale_has_the_width_and_tokens_that_are_listed(recipe):
    with torch.device("meta"):
        model = build_model(dataclasses.replace(recipe, pretrained=False), 3)
        pixels = torch.empty(1, 3, recipe.image_size, recipe.image_size)
    network = model.backbone.network.eval()
    assert network(pixels).shape == (1, model.num_features)
    tokens = network.forward_features(pixels)
    places = tokens.shape[1] - network.num_prefix_tokens if tokens.ndim == 3 else tokens.shape[-1] * tokens.shape[-2]
    assert places == model.num_tokens


@pytest.mark.parametrize("name", ["open-dinov2-small-tiny", "open-siglip2-base-tiny", "open-convnext-base-tiny"])
def test_a_file_with_a_classifier_of_its_own_fills_the_network(name, tmp_path):
    recipe = get_recipe(name)
    torch.manual_seed(0)
    source = network_of(recipe)
    path = tmp_path / "weights.safetensors"
    save_file({key: value.contiguous() for key, value in source.state_dict().items()}, path)
    model = build_model(dataclasses.replace(recipe, pretrained=True, weights_file=str(path)), 3)
    for key, value in model.backbone.network.state_dict().items():
        assert torch.equal(value, source.state_dict()[key]), key


def test_a_tagger_that_reads_blue_green_red_sees_the_same_image(tmp_path, monkeypatch):
    recipe = get_recipe("open-wd-vit-tagger-tiny")
    torch.manual_seed(0)
    source = network_of(recipe).eval()
    source.reset_classifier(0)
    path = tmp_path / "weights.safetensors"
    save_file(source.state_dict(), path)
    reads_bgr = dataclasses.replace(BACKBONES[recipe.backbone], reads_bgr=True)
    monkeypatch.setitem(BACKBONES, recipe.backbone, reads_bgr)
    backbone = OpenBackbone(dataclasses.replace(recipe, pretrained=True, weights_file=str(path))).eval()
    pixels_BCHW = backbone.input_step(images_of(recipe))
    torch.testing.assert_close(backbone.network(pixels_BCHW), source(pixels_BCHW.flip(1)))


def test_a_tagger_in_the_hubs_cache_is_found_by_name(tmp_path, monkeypatch):
    recipe = dataclasses.replace(get_recipe("open-wd-vit-tagger"), image_size=448)
    shape = BACKBONES["wd_vit_tagger"]
    torch.manual_seed(0)
    small = {**shape.arguments, "embed_dim": 64, "depth": 2, "num_heads": 2}
    monkeypatch.setitem(BACKBONES, "wd_vit_tagger", dataclasses.replace(shape, arguments=small))
    source = timm.create_model(shape.architecture, img_size=448, num_classes=10861, **small)
    snapshot = tmp_path / "hub" / "models--SmilingWolf--wd-vit-tagger-v3"
    (snapshot / "refs").mkdir(parents=True)
    (snapshot / "refs" / "main").write_text("0" * 40)
    place = snapshot / "snapshots" / ("0" * 40)
    place.mkdir(parents=True)
    save_file(source.state_dict(), place / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    network = build_model(recipe, 3).backbone.network
    assert torch.equal(network.patch_embed.proj.weight, source.patch_embed.proj.weight.flip(1))
    assert torch.equal(network.pos_embed, source.pos_embed)
    smaller = build_model(dataclasses.replace(recipe, image_size=256), 3).backbone.network
    assert smaller.pos_embed.shape == (1, 256, 64)  # positions are resized by timm


def test_without_a_network_the_weights_are_named_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for name in ("open-wd-vit-tagger", "open-dinov2-small"):
        with pytest.raises(Error, match=r"could not be read from the Hugging Face hub.*Set weights_file"):
            build_model(get_recipe(name), 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"backbone": "vit_96x2"}, "backbone='vit_96x2' .* an open network"),
        ({"backbone": "dinov2_tiny", "image_size": 50}, "image_size=50 .* a multiple of 8"),
        ({"backbone": "dinov2_tiny", "image_size": "64x36"}, "image_size='64x36' .* a multiple of 8"),
        ({"image_size": "64x24"}, "image_size='64x24' .* at least 32"),
        ({"drop_path": 1.0}, "drop_path=1.0 .* below 1"),
    ],
)
def test_a_value_that_does_not_do_is_named(values, message):
    with pytest.raises(Error, match=message):
        override(get_recipe("open-tiny"), values)
