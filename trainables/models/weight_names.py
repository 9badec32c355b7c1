"""Rename tensors that other programs wrote to timm's names.

A layout is recognized by a tensor that only it has. Formats that timm itself converts are not here.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from shards_tools.errors import Error

States = dict[str, Tensor]

WRAPPERS = re.compile(r"_orig_mod\.|_fsdp_wrapped_module\.|_checkpoint_wrapped_module\.")  # torch.compile, FSDP
SEPARATE = re.compile(r"(.+\.)q(\.weight|\.bias)")  # a query layer, which timm fuses with key and value
GLOBAL_BRANCH = re.compile(r"(.*)b1\.([01])\.(.+)")  # TransReID with JPM: last block and norm of the global feature
BLOCK = re.compile(r"(.*)base\.blocks\.(\d+)\.norm1\.weight")


@dataclass(frozen=True)
class Layout:
    """How a program names the tensors of a vision transformer."""

    mark: str  # a tensor that only this layout has
    renames: tuple[tuple[str, str], ...]  # patterns, in the order in which they are replaced

    def renamed(self, name: str) -> str:
        """Return timm's name of a tensor."""
        for pattern, replacement in self.renames:
            name = re.sub(pattern, replacement, name)
        return name


LAYOUTS = (
    # CLIP of OpenAI, and CLIP-ReID
    Layout(
        "class_embedding",
        (
            (r"^conv1\.", "patch_embed.proj."),
            (r"^class_embedding$", "cls_token"),
            (r"^positional_embedding$", "pos_embed"),
            (r"^transformer\.resblocks\.", "blocks."),
            (r"^ln_pre\.", "norm_pre."),
            (r"^ln_post\.", "norm."),
            (r"\.ln_([12])\.", r".norm\1."),
            (r"\.in_proj_", ".qkv."),
            (r"\.out_proj\.", ".proj."),
            (r"\.c_fc\.", ".fc1."),
            (r"\.c_proj\.", ".fc2."),
        ),
    ),
    # ViT, DeiT and DINOv2 of Hugging Face's transformers
    Layout(
        "embeddings.cls_token",
        (
            (r"^embeddings\.(cls_token|mask_token|register_tokens)$", r"\1"),
            (r"^embeddings\.distillation_token$", "dist_token"),
            (r"^embeddings\.position_embeddings$", "pos_embed"),
            (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
            (r"^encoder\.layers?\.", "blocks."),
            (r"\.attention\.attention\.(q|k|v)(?:uery|ey|alue)\.", r".attn.\1."),
            (r"\.attention\.output\.dense\.", ".attn.proj."),
            (r"\.intermediate\.dense\.", ".mlp.fc1."),
            (r"\.output\.dense\.", ".mlp.fc2."),
            (r"\.layernorm_before\.", ".norm1."),
            (r"\.layernorm_after\.", ".norm2."),
            (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
            (r"^layernorm\.", "norm."),
        ),
    ),
    # pytorch_pretrained_vit, on which the code of DAF:re and Animesion builds
    Layout(
        "positional_embedding.pos_embedding",
        (
            (r"^class_token$", "cls_token"),
            (r"^positional_embedding\.pos_embedding$", "pos_embed"),
            (r"^patch_embedding\.", "patch_embed.proj."),
            (r"^transformer\.blocks\.(\d+)\.proj\.", r"blocks.\1.attn.proj."),
            (r"^transformer\.blocks\.", "blocks."),
            (r"\.attn\.proj_([qkv])\.", r".attn.\1."),
            (r"\.pwff\.", ".mlp."),
        ),
    ),
    # torchvision
    Layout(
        "encoder.pos_embedding",
        (
            (r"^class_token$", "cls_token"),
            (r"^encoder\.pos_embedding$", "pos_embed"),
            (r"^conv_proj\.", "patch_embed.proj."),
            (r"^encoder\.layers\.encoder_layer_", "blocks."),
            (r"^encoder\.ln\.", "norm."),
            (r"\.ln_([12])\.", r".norm\1."),
            (r"\.self_attention\.in_proj_", ".attn.qkv."),
            (r"\.self_attention\.out_proj\.", ".attn.proj."),
            (r"\.mlp\.(?:0|linear_1)\.", ".mlp.fc1."),
            (r"\.mlp\.(?:3|linear_2)\.", ".mlp.fc2."),
        ),
    ),
)
# DINOv2's own program: chunks of blocks, and the layers of SwiGLU
DINOV2 = Layout(
    "mask_token",
    ((r"^blocks\.\d+\.(\d+)\.", r"blocks.\1."), (r"\.mlp\.w12\.", ".mlp.fc1."), (r"\.mlp\.w3\.", ".mlp.fc2.")),
)


def prefixes(states: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield everything that names start with, up to a dot, the shortest first; the empty prefix too."""
    found = {""}
    for name in states:
        parts = name.split(".")
        found.update(".".join(parts[:length]) + "." for length in range(1, len(parts)))
    yield from sorted(found, key=lambda prefix: (prefix.count("."), prefix))


def unwrapped(states: Mapping[str, Tensor]) -> States:
    """Return the weights without the names of wrappers, and with TransReID's trained global branch in its place."""
    return _with_global_branch({WRAPPERS.sub("", name): value for name, value in states.items()})


def with_timm_names(states: Mapping[str, Tensor], network_has_registers: bool) -> States:
    """Return the weights under timm's names.

    Raises:
        Error: they have register tokens, but the network has none.
    """
    renamed = dict(states)
    for layout in LAYOUTS:
        if layout.mark in renamed:
            renamed = _fused({layout.renamed(name): value for name, value in renamed.items()})
    if DINOV2.mark in renamed:
        renamed = {DINOV2.renamed(name): value for name, value in renamed.items() if name != DINOV2.mark}
    if "register_tokens" in renamed:
        renamed = _with_registers(renamed, network_has_registers)
    for name in ("cls_token", "pos_embed"):
        if name in renamed and renamed[name].ndim < 3:
            renamed[name] = renamed[name].reshape(1, -1, renamed[name].shape[-1])
    return renamed


def _with_registers(states: States, network_has_registers: bool) -> States:
    """Add the class token's position to the class token, because timm's positions are those of patches alone."""
    if not network_has_registers:
        raise Error("has register tokens, but this network has none. Set backbone=timm/vit_..._reg4_dinov2.")
    registers, positions = states.pop("register_tokens"), states["pos_embed"]
    placed = {"cls_token": states["cls_token"] + positions[:, :1], "pos_embed": positions[:, 1:]}
    return {**states, **placed, "reg_token": registers}


def _fused(states: States) -> States:
    """Return the weights with query, key and value of each attention in one layer."""
    fused = dict(states)
    for name in states:
        query = SEPARATE.fullmatch(name)
        if query is None:
            continue
        parts = [f"{query[1]}{part}{query[2]}" for part in "qkv"]
        if all(part in fused for part in parts):
            fused[f"{query[1]}qkv{query[2]}"] = torch.cat([fused.pop(part) for part in parts])
    return fused


def _with_global_branch(states: States) -> States:
    """Put the global branch of TransReID's JPM in place of the last block and norm, which JPM does not train."""
    last: dict[str, int] = {}
    for name in states:
        if found := BLOCK.fullmatch(name):
            last[found[1]] = max(last.get(found[1], 0), int(found[2]))
    moved = {}
    for name, value in states.items():
        found = GLOBAL_BRANCH.fullmatch(name)
        if found and found[1] in last:
            place = f"blocks.{last[found[1]]}" if found[2] == "0" else "norm"
            moved[f"{found[1]}base.{place}.{found[3]}"] = value
    without = {name: value for name, value in states.items() if not GLOBAL_BRANCH.fullmatch(name)}
    return {**without, **moved} if moved else states
