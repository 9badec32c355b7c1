"""Pretrained weights through timm's own loading, from a local file: no network."""

import dataclasses

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn import functional

from shards_tools.errors import Error
from trainables.models import build_model
from trainables.recipes import get_recipe
from trainables.recipes.backbones import BACKBONES, Backbone

TIMM_NAME = "vit_tiny_patch16_224.augreg_in21k"  # timm's smallest with patches of 16 px


@pytest.fixture
def recipe(monkeypatch):
    """A paper row on timm's smallest transformer."""
    small = Backbone(width=192, depth=12, num_heads=3, patch_px=16, pretrained_name=TIMM_NAME)
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
    for name, tensor in model.state_dict().items():
        if name == "pos_embed" or name.startswith("necks."):
            continue
        source = name.replace("trunk.", "blocks.")
        for branch in ("global_branch", "local_branch"):
            source = source.replace(f"{branch}.block.", "blocks.11.").replace(f"{branch}.norm.", "norm.")
        assert torch.equal(tensor, tensors[source]), name


def test_positions_are_resized_bilinearly_and_the_class_tokens_is_kept(recipe, weights):
    path, tensors = weights
    model = build_model(dataclasses.replace(recipe, weights_file=str(path)), 3)
    assert model.patch_embed.grid_size == (5, 5)  # (64 - 16) // 12 + 1
    first, grid = tensors["pos_embed"][:, :1], tensors["pos_embed"][:, 1:].view(1, 14, 14, 192).permute(0, 3, 1, 2)
    resized = functional.interpolate(
        grid, (5, 5), mode="bilinear", align_corners=False
    )  # as upstream's resize_pos_embed
    expected = torch.cat([first, resized.permute(0, 2, 3, 1).reshape(1, 25, 192)], dim=1)
    torch.testing.assert_close(model.pos_embed.data, expected)


def test_at_the_weights_own_grid_positions_are_untouched(recipe, weights):
    path, tensors = weights
    changes = {"weights_file": str(path), "image_size": 224, "stride_px": 16}
    model = build_model(dataclasses.replace(recipe, **changes), 3)
    assert torch.equal(model.pos_embed.data, tensors["pos_embed"])


def test_a_missing_weights_file_is_named_with_the_way_out(recipe, tmp_path):
    absent = str(tmp_path / "absent.safetensors")
    with pytest.raises(Error, match=f"{TIMM_NAME} could not be read from {absent}.*pretrained=false"):
        build_model(dataclasses.replace(recipe, weights_file=absent), 3)


def test_a_file_of_another_model_is_refused(recipe, tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, path)  # timm itself would go on with random weights
    with pytest.raises(Error, match=f"{TIMM_NAME} could not be read from {path}"):
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
    assert torch.equal(model.cls_token.data, tensors["cls_token"])
