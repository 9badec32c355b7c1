"""What other programs save of a small vision transformer: their names, nesting and the tensors that come with it."""

import re

import torch

Tensors = dict[str, torch.Tensor]


def prefixed(states: Tensors, prefix: str) -> Tensors:
    return {f"{prefix}{name}": value for name, value in states.items()}


def transreid(states: Tensors) -> Tensors:
    extra = {"bottleneck.weight": torch.ones(96), "classifier.weight": torch.ones(7, 96)}
    return {**prefixed(states, "base."), "base.fc.weight": torch.ones(7, 96), **extra}


def transreid_with_jpm(states: Tensors) -> Tensors:
    """Its last block and norm are trained in `b1`; those in `base` keep what they started from."""
    saved = transreid(states)
    for name in list(saved):
        for place, branch in (("base.blocks.1.", "b1.0."), ("base.norm.", "b1.1.")):
            if name.startswith(place):
                saved[name.replace(place, branch)] = saved[name]
                saved[name.replace(place, branch.replace("b1", "b2"))] = torch.zeros_like(saved[name])
                saved[name] = torch.zeros_like(saved[name])
    return saved


def fast_reid(states: Tensors) -> dict:
    model = {**prefixed(states, "backbone."), "heads.weight": torch.ones(7, 96), "pixel_mean": torch.ones(1, 3, 1, 1)}
    return {"model": model, "epoch": 3, "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}}}


def torchreid(states: Tensors) -> dict:
    import numpy as np

    return {"state_dict": prefixed(states, "module."), "epoch": 3, "rank1": np.float32(0.8), "mAP": np.float64(0.5)}


def lightning(states: Tensors) -> dict:
    from argparse import Namespace
    from collections import defaultdict
    from pathlib import Path

    parameters = {"args": Namespace(lr=0.1), "folder": Path("data"), "counts": defaultdict(int, a=1)}
    return {
        "state_dict": prefixed(states, "model."),
        "pytorch-lightning_version": "2.5",
        "hyper_parameters": parameters,
    }


def dinov2(states: Tensors) -> Tensors:
    return {**states, "mask_token": torch.ones(1, 96)}


def dinov2_training(states: Tensors) -> dict:
    """Its trainings keep student and teacher, and blocks in chunks."""
    teacher = {re.sub(r"^blocks\.(\d+)", r"blocks.\1.\1", name): value for name, value in dinov2(states).items()}
    student = {name: torch.zeros_like(value) for name, value in teacher.items()}
    return {"student": prefixed(student, "backbone."), "teacher": prefixed(teacher, "backbone."), "iteration": 9}


def hugging_face(states: Tensors, prefix: str = "vit.") -> Tensors:
    names = (
        (r"^(cls_token|mask_token)$", r"embeddings.\1"),
        (r"^pos_embed$", "embeddings.position_embeddings"),
        (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
        (r"^norm\.", "layernorm."),
        (r"^blocks\.(\d+)\.norm1\.", r"encoder.layer.\1.layernorm_before."),
        (r"^blocks\.(\d+)\.norm2\.", r"encoder.layer.\1.layernorm_after."),
        (r"^blocks\.(\d+)\.attn\.proj\.", r"encoder.layer.\1.attention.output.dense."),
        (r"^blocks\.(\d+)\.mlp\.fc1\.", r"encoder.layer.\1.intermediate.dense."),
        (r"^blocks\.(\d+)\.mlp\.fc2\.", r"encoder.layer.\1.output.dense."),
    )
    saved = {"classifier.weight": torch.ones(7, 96), f"{prefix}pooler.dense.weight": torch.ones(96, 96)}
    for name, value in states.items():
        if found := re.fullmatch(r"blocks\.(\d+)\.attn\.qkv\.(weight|bias)", name):
            for part, rows in zip(("query", "key", "value"), value.split(96), strict=True):
                saved[f"{prefix}encoder.layer.{found[1]}.attention.attention.{part}.{found[2]}"] = rows.clone()
            continue
        for pattern, replacement in names:
            name = re.sub(pattern, replacement, name)
        saved[f"{prefix}{name}"] = value
    return saved


def clip(states: Tensors, prefix: str = "visual.") -> Tensors:
    """OpenAI's CLIP: class token and positions without a leading axis."""
    names = (
        (r"^patch_embed\.proj\.", "conv1."),
        (r"^cls_token$", "class_embedding"),
        (r"^pos_embed$", "positional_embedding"),
        (r"^norm_pre\.", "ln_pre."),
        (r"^norm\.", "ln_post."),
        (r"^blocks\.", "transformer.resblocks."),
        (r"\.norm([12])\.", r".ln_\1."),
        (r"\.qkv\.", ".in_proj_"),
        (r"\.attn\.proj\.", ".attn.out_proj."),
        (r"\.fc1\.", ".c_fc."),
        (r"\.fc2\.", ".c_proj."),
    )
    saved = {f"{prefix}proj": torch.ones(96, 32), "logit_scale": torch.ones(())}
    for name, value in states.items():
        for pattern, replacement in names:
            name = re.sub(pattern, replacement, name)
        short = {"class_embedding": value.flatten(), "positional_embedding": value.squeeze(0)}
        saved[f"{prefix}{name}"] = short.get(name, value)
    return saved


def clip_reid(states: Tensors) -> Tensors:
    extra = {"prompt_learner.cls_ctx": torch.ones(7, 4, 96), "text_encoder.text_projection": torch.ones(96, 32)}
    return {**clip(states, "image_encoder."), **extra, "classifier.weight": torch.ones(7, 96)}


def pretrained_vit(states: Tensors) -> Tensors:
    """Save it as pytorch_pretrained_vit, on which DAF:re and Animesion build."""
    saved = {"fc.weight": torch.ones(7, 96)}
    names = (
        (r"^patch_embed\.proj\.", "patch_embedding."),
        (r"^cls_token$", "class_token"),
        (r"^pos_embed$", "positional_embedding.pos_embedding"),
        (r"^blocks\.(\d+)\.attn\.proj\.", r"transformer.blocks.\1.proj."),
        (r"^blocks\.(\d+)\.mlp\.", r"transformer.blocks.\1.pwff."),
        (r"^blocks\.", "transformer.blocks."),
    )
    for name, value in states.items():
        if found := re.fullmatch(r"blocks\.(\d+)\.attn\.qkv\.(weight|bias)", name):
            for part, rows in zip("qkv", value.split(96), strict=True):
                saved[f"transformer.blocks.{found[1]}.attn.proj_{part}.{found[2]}"] = rows.clone()
            continue
        for pattern, replacement in names:
            name = re.sub(pattern, replacement, name)
        saved[name] = value
    return saved
