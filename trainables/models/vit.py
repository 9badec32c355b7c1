"""timm's vision transformer with a configurable patch stride, freshly initialized or pretrained."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from timm.layers import Attention, Mlp
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from shards_tools.errors import Error
from trainables.models.positions import resize_bilinear
from trainables.models.weight_files import States
from trainables.models.weights import load_pretrained
from trainables.recipes.backbones import Transformer, get_backbone
from trainables.recipes.images import Size
from trainables.recipes.recipe import Recipe


class ScaledAttention(Attention):
    """timm's attention, with `scale` also passed to the fused kernel, where timm uses 1 / sqrt(channels)."""

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        """Map B x T x D to B x T x D."""
        batch, length, width = x.shape
        parts = self.qkv(x).reshape(batch, length, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        mixed = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=attn_mask, is_causal=is_causal, scale=self.scale
        )
        output: Tensor = self.proj_drop(self.proj(mixed.transpose(1, 2).reshape(batch, length, width)))
        return output


def build_vit(
    recipe: Recipe,
    initialize: Callable[[VisionTransformer], None],
    stride_px: int,
    *,
    corner_aligned: bool = False,
    norm_eps: float = 1e-6,
    **rates: float,
) -> VisionTransformer:
    """Return the recipe's transformer without a classifier, for its image size and this stride.

    Args:
        initialize: initializes the weights; see initial.py.
        corner_aligned: resize position embeddings with align_corners.
        rates: timm's `drop_path_rate`, `attn_drop_rate` (of attention probabilities), and `proj_drop_rate` (at the two
            outputs of a block: after the attention's projection and after the MLP).

    Raises:
        Error: the backbone is not a vision transformer, or its weights cannot be read.
    """
    shape = get_backbone(recipe.backbone)
    if not isinstance(shape, Transformer):
        raise Error(f"`backbone={recipe.backbone!r}` is not a vision transformer. Use one whose name starts with vit.")
    settings: dict[str, Any] = {"norm_layer": partial(nn.LayerNorm, eps=norm_eps), **rates}
    vit = _bare(shape, recipe.size, settings)
    set_stride(vit, recipe.size, stride_px)
    initialize(vit)  # after resizing, which would smooth position embeddings
    if recipe.pretrained:
        load_pretrained(vit, recipe, shape, without_classifier, partial(resize_bilinear, corner_aligned=corner_aligned))
    return vit


def set_stride(vit: VisionTransformer, size: Size, stride_px: int, *, corner_aligned: bool = False) -> None:
    """Make `vit` cut images of this size into patches at this stride, and resize its position embedding to match.

    Args:
        vit: changed in place; its position embedding has one prefix token.
        size: of the images.
        stride_px: less than the patch's size if patches overlap.
        corner_aligned: how to resize; see `resize_bilinear`.
    """
    patches = vit.patch_embed
    rows, columns = ((side - patches.patch_size[0]) // stride_px + 1 for side in size)
    assert vit.pos_embed is not None
    positions_BTD = vit.pos_embed.detach()
    resized_BTD = resize_bilinear(positions_BTD, patches.grid_size, (rows, columns), corner_aligned=corner_aligned)
    vit.pos_embed = nn.Parameter(resized_BTD)
    patches.proj.stride = (stride_px, stride_px)
    patches.img_size = (size.height, size.width)
    patches.grid_size = (rows, columns)
    patches.num_patches = rows * columns


def _bare(shape: Transformer, size: Size, settings: dict[str, Any]) -> VisionTransformer:
    """Return the modules; the class token and positions are uninitialized."""
    vit = VisionTransformer(
        img_size=(size.height, size.width),
        patch_size=shape.patch_px,
        embed_dim=shape.width,
        depth=shape.depth,
        num_heads=shape.num_heads,
        mlp_ratio=shape.mlp_ratio,
        qkv_bias=shape.qkv_bias,
        num_classes=0,
        attn_layer=Attention if shape.attention_scale is None else ScaledAttention,
        weight_init="skip",
        **settings,
    )
    for module in vit.modules():
        if isinstance(module, Mlp):
            module.drop1.p = 0.0  # the papers apply dropout to a block's outputs, not inside its MLP
        if isinstance(module, ScaledAttention) and shape.attention_scale is not None:
            module.scale = shape.attention_scale
    return vit


def without_classifier(states: States) -> States:
    """Return the weights without head and distillation token, as TransReID reads DeiT."""
    if "dist_token" in states:
        positions = states["pos_embed"]
        states = {**states, "pos_embed": torch.cat([positions[:, :1], positions[:, 2:]], dim=1)}
    return {name: value for name, value in states.items() if not name.startswith(("head", "dist_token", "pre_logits"))}
