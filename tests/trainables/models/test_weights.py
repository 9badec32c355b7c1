"""Weights that other programs saved: prefixes, nestings, layouts, position grids and number types."""

import logging
import re
from argparse import Namespace

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision.models import VisionTransformer as TorchvisionTransformer

from shards_tools.errors import Error
from tests.trainables.models import other_programs
from tests.trainables.models.small_vit import assert_loaded, drawn, network_of
from trainables.models.open_networks import _without_classifier
from trainables.models.weights import load_file

SAVED = {
    "plain": lambda states: states,
    "TransReID": other_programs.transreid,
    "TransReID with JPM": other_programs.transreid_with_jpm,
    "TransReID with JPM on several GPUs": lambda states: other_programs.prefixed(
        other_programs.transreid_with_jpm(states), "module."
    ),
    "fast-reid": other_programs.fast_reid,
    "torchreid": other_programs.torchreid,
    "Lightning": other_programs.lightning,
    "DINOv2": other_programs.dinov2,
    "a training of DINOv2": other_programs.dinov2_training,
    "Hugging Face": other_programs.hugging_face,
    "Hugging Face without a head": lambda states: other_programs.hugging_face(states, ""),
    "pytorch_pretrained_vit": other_programs.pretrained_vit,
    "DataParallel around TransReID": lambda states: other_programs.prefixed(states, "module.base."),
    "a compiled model": lambda states: {"model": other_programs.prefixed(states, "_orig_mod.")},
    "a compiled model on several GPUs": lambda states: other_programs.prefixed(states, "module._orig_mod."),
    "compiled blocks": lambda states: {
        re.sub(r"^(blocks\.\d+)\.", r"\1._orig_mod.", name): value for name, value in states.items()
    },
    "MoCo": lambda states: {
        "state_dict": {
            **other_programs.prefixed(states, "module.base_encoder."),
            **other_programs.prefixed({name: value * 0 for name, value in states.items()}, "module.momentum_encoder."),
        }
    },
    "timm, whose averaged weights are preferred": lambda states: {
        "state_dict": {name: value * 0 for name, value in states.items()},
        "state_dict_ema": states,
        "args": Namespace(lr=0.1),
    },
    "an unknown prefix in an unknown key": lambda states: {"net": {"g": other_programs.prefixed(states, "a.b.")}},
    "half precision": lambda states: {name: value.half() for name, value in states.items()},
    "bfloat16": lambda states: {name: value.bfloat16() for name, value in states.items()},
    "double precision": lambda states: {name: value.double() for name, value in states.items()},
    "parameters": lambda states: {name: torch.nn.Parameter(value) for name, value in states.items()},
    "tensors that are not contiguous": lambda states: {
        name: value.transpose(0, -1).contiguous().transpose(0, -1) for name, value in states.items()
    },
}


@pytest.mark.parametrize("program", SAVED)
def test_every_tensor_of_another_programs_file_is_loaded(program, tmp_path):
    network = network_of()
    states = drawn(network)
    torch.save(SAVED[program](states), tmp_path / "file.pth")
    load_file(network, str(tmp_path / "file.pth"), _without_classifier)
    rounded = {"half precision": torch.half, "bfloat16": torch.bfloat16}.get(program, torch.float)
    assert_loaded(network, {name: value.to(rounded) for name, value in states.items()})


@pytest.mark.parametrize("ending", [".pt", ".bin", ".pth.tar", ".ckpt", ""])
def test_a_torch_file_is_read_under_any_name_and_in_its_former_format(ending, tmp_path):
    network = network_of()
    path = tmp_path / f"file{ending}"
    saved = {**other_programs.lightning(drawn(network)), **other_programs.torchreid(drawn(network))}
    torch.save(saved, path, _use_new_zipfile_serialization=ending == ".bin")
    load_file(network, str(path))
    assert_loaded(network, drawn(network))


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_safetensors_are_recognized_by_content(name, tmp_path):
    network = network_of()
    save_file(other_programs.hugging_face(drawn(network)), tmp_path / name)
    load_file(network, str(tmp_path / name))
    assert_loaded(network, drawn(network))


def test_dinov2_of_hugging_face_keeps_its_layer_scales(tmp_path):
    network = network_of(init_values=1e-5)
    states = drawn(network)
    theirs = {}
    for name, value in other_programs.hugging_face(other_programs.dinov2(states), "dinov2.").items():
        name = name.replace("layernorm_before", "norm1").replace("layernorm_after", "norm2")
        name = name.replace("intermediate.dense", "mlp.fc1").replace("dinov2.blocks.", "dinov2.encoder.layer.")
        name = re.sub(r"(layer\.\d)\.output\.dense", r"\1.mlp.fc2", name)
        theirs[re.sub(r"ls([12])\.gamma", r"layer_scale\1.lambda1", name)] = value
    assert "dinov2.encoder.layer.1.layer_scale2.lambda1" in theirs
    torch.save(theirs, tmp_path / "pytorch_model.bin")
    load_file(network, str(tmp_path / "pytorch_model.bin"))
    assert_loaded(network, states)


@pytest.mark.parametrize("save", [other_programs.clip, other_programs.clip_reid])
def test_both_forms_of_clip_fill_timms_network(save, tmp_path):
    network = network_of(pre_norm=True)
    states = drawn(network)
    torch.save(save(states), tmp_path / "clip.pt")
    load_file(network, str(tmp_path / "clip.pt"))
    assert_loaded(network, states)


def test_torchvisions_transformer_gives_the_same_features_in_timms(tmp_path):
    torch.manual_seed(0)
    theirs = TorchvisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=3, hidden_dim=96, mlp_dim=384, num_classes=7
    ).eval()
    theirs.heads = torch.nn.Identity()
    torch.save(theirs.state_dict(), tmp_path / "vit.pth")
    network = network_of().eval()
    load_file(network, str(tmp_path / "vit.pth"))
    pixels = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(network(pixels), theirs(pixels), rtol=1e-4, atol=1e-5)


def test_register_tokens_fill_a_network_that_has_them_and_are_refused_by_others(tmp_path):
    network = network_of(reg_tokens=4, no_embed_class=True)
    states = drawn(network)
    theirs = other_programs.dinov2(states)
    class_place = torch.randn(1, 1, 96)
    theirs["register_tokens"] = theirs.pop("reg_token")
    theirs["pos_embed"] = torch.cat([class_place, states["pos_embed"]], dim=1)
    torch.save(theirs, tmp_path / "dinov2.pth")
    load_file(network, str(tmp_path / "dinov2.pth"))
    assert_loaded(network, {**states, "cls_token": states["cls_token"] + class_place})
    with pytest.raises(Error, match=r"has register tokens, but this network has none. Set backbone=timm/vit_"):
        load_file(network_of(), str(tmp_path / "dinov2.pth"))


def test_the_names_of_vits_authors_are_read_as_timm_reads_them(tmp_path):
    network, expected = network_of(), network_of()
    arrays = {
        "embedding/kernel": (8, 8, 3, 96), "embedding/bias": (96,), "cls": (1, 1, 96),
        "Transformer/posembed_input/pos_embedding": (1, 17, 96),
        "Transformer/encoder_norm/scale": (96,), "Transformer/encoder_norm/bias": (96,),
    }  # fmt: skip
    for block in range(2):
        at = f"Transformer/encoderblock_{block}/"
        for part in ("query", "key", "value"):
            arrays[f"{at}MultiHeadDotProductAttention_1/{part}/kernel"] = (96, 3, 32)
            arrays[f"{at}MultiHeadDotProductAttention_1/{part}/bias"] = (3, 32)
        arrays[f"{at}MultiHeadDotProductAttention_1/out/kernel"] = (3, 32, 96)
        arrays[f"{at}MultiHeadDotProductAttention_1/out/bias"] = (96,)
        for layer, inputs, outputs in ((0, 96, 384), (1, 384, 96)):
            arrays[f"{at}MlpBlock_3/Dense_{layer}/kernel"] = (inputs, outputs)
            arrays[f"{at}MlpBlock_3/Dense_{layer}/bias"] = (outputs,)
        for norm in (0, 2):
            arrays[f"{at}LayerNorm_{norm}/scale"] = arrays[f"{at}LayerNorm_{norm}/bias"] = (96,)
    random = np.random.default_rng(0)
    np.savez(tmp_path / "vit.npz", **{name: random.normal(size=shape).astype("f") for name, shape in arrays.items()})
    expected.load_pretrained(str(tmp_path / "vit.npz"))
    report = load_file(network, str(tmp_path / "vit.npz"))
    assert not report.fresh
    assert_loaded(network, expected.state_dict())


def test_only_timms_transformers_read_the_names_of_vits_authors(tmp_path):
    np.savez(tmp_path / "vit.npz", cls=np.zeros(3))
    with pytest.raises(Error, match=r"vit.npz has names of JAX, which only vision transformers read"):
        load_file(timm.create_model("regnetx_002", num_classes=0), str(tmp_path / "vit.npz"))


def test_the_log_says_what_was_loaded_resized_ignored_and_kept(tmp_path, caplog):
    network = network_of()
    states = other_programs.transreid(drawn(network_of(img_size=(256, 128), depth=1)))
    torch.save({"state_dict": states}, tmp_path / "upright.pth")
    with caplog.at_level(logging.INFO, logger="trainables.models.weights"):
        load_file(network, str(tmp_path / "upright.pth"), _without_classifier)
    assert caplog.messages == [
        f"Loaded 18 tensors of {tmp_path}/upright.pth, named after `state_dict.base.`; resized: pos_embed from 32 x 16"
        " to 4 x 4; ignored: state_dict.bottleneck.weight, state_dict.classifier.weight; missing, kept at their"
        " initial values: blocks.1.attn.proj.bias, blocks.1.attn.proj.weight, blocks.1.attn.qkv.bias,"
        " blocks.1.attn.qkv.weight, blocks.1.mlp.fc1.bias and 7 more."
    ]


def test_a_patch_layer_of_another_size_is_resized_and_reported(tmp_path):
    network = network_of()
    torch.save(drawn(network_of(img_size=16, patch_size=4)), tmp_path / "small.pth")
    report = load_file(network, str(tmp_path / "small.pth"))
    assert report.resized == ("patch_embed.proj.weight from (96, 3, 4, 4) to (96, 3, 8, 8)",)
    assert not report.fresh
