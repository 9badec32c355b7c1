"""Pretrained weights: by name from the hub's cache, and from files in every form they come in; no network."""

import dataclasses
import logging
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn import functional

from shards_tools.errors import Error
from trainables.models import build_model
from trainables.recipes import get_recipe
from trainables.recipes.backbones import BACKBONES, Transformer

TIMM_NAME = "vit_tiny_patch16_224.augreg_in21k"  # timm's smallest with patches of 16 px


@pytest.fixture
def recipe(monkeypatch):
    """A paper row on timm's smallest transformer."""
    small = Transformer(width=192, depth=12, num_heads=3, patch_px=16, pretrained_name=TIMM_NAME)
    monkeypatch.setitem(BACKBONES, "small", small)
    return dataclasses.replace(get_recipe("transreid-vit-stride"), backbone="small", image_size=64)


@pytest.fixture
def weights(tmp_path):
    """A checkpoint as timm publishes them, with a classifier and positions of 14 x 14; weights drawn at random."""
    torch.manual_seed(0)
    tensors = timm.create_model(TIMM_NAME, num_classes=21843).state_dict()
    for name in tensors:
        if name.endswith("bias"):
            tensors[name] = torch.randn_like(tensors[name])
    path = tmp_path / "model.safetensors"
    save_file(tensors, path)
    return path, tensors


def test_every_part_starts_from_the_file_and_both_branches_from_its_last_block(recipe, weights):
    path, tensors = weights
    model = build_model(dataclasses.replace(recipe, weights_file=str(path)), 3)
    for name, tensor in model.backbone.state_dict().items():
        if name == "pos_embed":
            continue
        source = name.replace("trunk.", "blocks.")
        for branch in ("global_branch", "local_branch"):
            source = source.replace(f"{branch}.block.", "blocks.11.").replace(f"{branch}.norm.", "norm.")
        assert torch.equal(tensor, tensors[source]), name


def test_positions_are_resized_bilinearly_and_the_class_tokens_is_kept(recipe, weights):
    path, tensors = weights
    model = build_model(dataclasses.replace(recipe, weights_file=str(path)), 3)
    assert model.backbone.patch_embed.grid_size == (5, 5)  # (64 - 16) // 12 + 1
    first, grid = tensors["pos_embed"][:, :1], tensors["pos_embed"][:, 1:].view(1, 14, 14, 192).permute(0, 3, 1, 2)
    resized = functional.interpolate(
        grid, (5, 5), mode="bilinear", align_corners=False
    )  # as upstream's resize_pos_embed
    expected = torch.cat([first, resized.permute(0, 2, 3, 1).reshape(1, 25, 192)], dim=1)
    torch.testing.assert_close(model.backbone.pos_embed.data, expected)


def test_at_the_weights_own_grid_positions_are_untouched(recipe, weights):
    path, tensors = weights
    changes = {"weights_file": str(path), "image_size": 224, "stride_px": 16}
    model = build_model(dataclasses.replace(recipe, **changes), 3)
    assert torch.equal(model.backbone.pos_embed.data, tensors["pos_embed"])


def test_a_missing_weights_file_is_named_with_the_way_out(recipe, tmp_path):
    absent = str(tmp_path / "absent.safetensors")
    with pytest.raises(Error, match=f"`weights_file={absent}` does not exist. Use a .safetensors"):
        build_model(dataclasses.replace(recipe, weights_file=absent), 3)


def test_a_file_of_another_model_is_refused(recipe, tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, path)  # timm itself would continue with random weights
    with pytest.raises(Error, match=f"{path} does not fit this network: Loaded 0 tensors .* ignored: weight"):
        build_model(dataclasses.replace(recipe, weights_file=str(path)), 3)


def test_without_a_network_the_weights_are_named_with_the_way_out(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(Error, match=f"{TIMM_NAME} could not be read from the Hugging Face hub.*weights_file"):
        build_model(recipe, 3)


def test_weights_in_the_hubs_cache_are_found_by_name(recipe, weights, tmp_path, monkeypatch):
    path, tensors = weights
    snapshot = tmp_path / "hub" / f"models--timm--{TIMM_NAME}"
    (snapshot / "refs").mkdir(parents=True)
    (snapshot / "refs" / "main").write_text("0" * 40)
    place = snapshot / "snapshots" / ("0" * 40)
    place.mkdir(parents=True)
    path.rename(place / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    model = build_model(recipe, 3)
    assert torch.equal(model.backbone.cls_token.data, tensors["cls_token"])


def test_a_torch_file_of_a_training_script_is_read_as_well(recipe, weights, tmp_path):
    _, tensors = weights
    path = tmp_path / "model.pth"
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in tensors.items()}, "epoch": 3}, path)
    model = build_model(dataclasses.replace(recipe, weights_file=str(path)), 3)
    assert torch.equal(model.backbone.cls_token.data, tensors["cls_token"])


def test_a_file_that_could_run_code_is_refused_and_not_run(recipe, tmp_path):
    ran, path = tmp_path / "ran", tmp_path / "model.pth"

    class Malice:
        def __reduce__(self):
            return (Path.touch, (ran,))

    torch.save({"state_dict": Malice()}, path)
    with pytest.raises(Error, match=f"The weights {path} are refused: they hold objects that could run code"):
        build_model(dataclasses.replace(recipe, weights_file=str(path)), 3)
    assert not ran.exists()


def test_what_of_a_file_is_left_out_and_what_stays_fresh_is_said(recipe, weights, tmp_path, caplog):
    _, tensors = weights
    fewer = {name: tensor for name, tensor in tensors.items() if name != "norm.weight"}
    path = tmp_path / "fewer.safetensors"
    save_file({**fewer, "strange": torch.zeros(2, 3), "norm.bias": torch.zeros(7)}, path)
    with caplog.at_level(logging.INFO, logger="trainables.models.weights"):
        build_model(dataclasses.replace(recipe, weights_file=str(path)), 3)
    (text,) = caplog.messages
    assert text == (
        f"Loaded 148 tensors of {path}; resized: pos_embed from 14 x 14 to 5 x 5;"
        " ignored: norm.bias (7,), not (192,), strange (2, 3);"
        " missing, kept at their initial values: norm.bias, norm.weight."
    )


@pytest.mark.parametrize(("masking", "fresh"), [("full", True), ("none", False)])
@pytest.mark.parametrize("row", ["animesion-l16-vilt", "animesion-b16-vilt"])
def test_the_norm_before_the_classifier_of_masked_tags_starts_fresh(row, masking, fresh, recipe, weights):
    path, tensors = weights  # Animesion's masked model has a norm that its weights file does not name
    changes = {"backbone": recipe.backbone, "weights_file": str(path), "masking": masking}
    model = build_model(dataclasses.replace(get_recipe(row), **changes), 3, num_words=20)
    pretrained = tensors["norm.weight"], tensors["norm.bias"]
    expected = (torch.ones(192), torch.zeros(192)) if fresh else pretrained
    assert not torch.equal(pretrained[1], torch.zeros(192))
    assert torch.equal(model.backbone.norm.weight, expected[0])
    assert torch.equal(model.backbone.norm.bias, expected[1])


def test_deit_is_read_without_its_distillation_token(monkeypatch, tmp_path):
    torch.manual_seed(0)
    tensors = timm.create_model("deit_tiny_distilled_patch16_224").state_dict()
    tensors["pos_embed"] = torch.randn(1, 198, 192)
    path = tmp_path / "deit.safetensors"
    save_file(tensors, path)
    shape = Transformer(width=192, depth=12, num_heads=3, patch_px=16)
    monkeypatch.setitem(BACKBONES, "deit_tiny", shape)
    changes = {"backbone": "deit_tiny", "image_size": 224, "stride_px": 16, "weights_file": str(path)}
    model = build_model(dataclasses.replace(get_recipe("transreid-deit-small"), **changes), 3)
    kept = torch.cat([tensors["pos_embed"][:, :1], tensors["pos_embed"][:, 2:]], dim=1)
    assert torch.equal(model.backbone.pos_embed.data, kept)
    assert torch.equal(model.backbone.trunk[3].mlp.fc1.weight, tensors["blocks.3.mlp.fc1.weight"])


@pytest.mark.parametrize(
    ("name", "weights"),
    [("transreid-vit-small", "vit_small_p16_224-15ec54c9"), ("agw-resnet50-ibn-a", "resnet50_ibn_a-d9d0bb7b")],
)
def test_weights_that_no_registry_has_are_asked_for_by_name(name, weights):
    with pytest.raises(Error, match=f"starts from {weights}, which no registry has. Set weights_file"):
        build_model(get_recipe(name), 3)


def test_a_residual_networks_file_fills_it_before_it_is_changed(tmp_path):
    torch.manual_seed(0)
    tensors = timm.create_model("resnet18").state_dict()
    path = tmp_path / "resnet.pth"
    torch.save(tensors, path)
    changes = {"backbone": "resnet18", "non_local": "dot", "image_size": 64, "weights_file": str(path)}
    network = build_model(dataclasses.replace(get_recipe("agw-resnet50"), **changes), 3).backbone.network
    assert torch.equal(network.layer2.blocks[1].conv2.weight, tensors["layer2.1.conv2.weight"])
    assert torch.equal(network.bn1.running_var, tensors["bn1.running_var"])
