"""timm's vision transformer with a stride between patches of its own, fresh or pretrained."""

import textwrap
from typing import Any

import timm
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from shards_tools.errors import Error
from trainables.recipes.backbones import get_backbone
from trainables.recipes.transreid import TransReIDRecipe

PRETRAINED_PX = 224  # image size of timm's weights: a grid of 14 x 14 patches of 16 px
POSITION_STD = 0.02  # of fresh position embeddings


def build_vit(recipe: TransReIDRecipe) -> VisionTransformer:
    """The recipe's transformer without a head, for its image size and stride."""
    if recipe.pretrained:
        vit = _pretrained(recipe)
        set_stride(vit, recipe.image_size, recipe.stride_px)
        return vit
    vit = _fresh(recipe)
    set_stride(vit, recipe.image_size, recipe.stride_px)
    assert vit.pos_embed is not None
    nn.init.trunc_normal_(vit.pos_embed, std=POSITION_STD)  # resizing has smoothed them
    return vit


def set_stride(vit: VisionTransformer, image_size: int, stride_px: int) -> None:
    """Let `vit` cut images of this size into patches this far apart; its position embedding is resized to fit.

    Bilinearly and not antialiased, as TransReID does; timm's own way is bicubic.
    """
    patches = vit.patch_embed
    grid = (image_size - patches.patch_size[0]) // stride_px + 1
    assert vit.pos_embed is not None
    positions = resample_abs_pos_embed(
        vit.pos_embed.detach(),
        new_size=[grid, grid],
        old_size=list(patches.grid_size),
        interpolation="bilinear",
        antialias=False,
    )
    vit.pos_embed = nn.Parameter(positions)
    patches.proj.stride = (stride_px, stride_px)
    patches.img_size = (image_size, image_size)
    patches.grid_size = (grid, grid)
    patches.num_patches = grid * grid


def _fresh(recipe: TransReIDRecipe) -> VisionTransformer:
    shape = get_backbone(recipe.backbone)
    return VisionTransformer(
        img_size=recipe.image_size,
        patch_size=shape.patch_px,
        embed_dim=shape.width,
        depth=shape.depth,
        num_heads=shape.num_heads,
        num_classes=0,
        drop_path_rate=recipe.drop_path,
        # Xavier: the usual normal of 0.02 suits a width of 768 and is far too small for narrow networks
        weight_init="jax",
    )


def _pretrained(recipe: TransReIDRecipe) -> VisionTransformer:
    name = get_backbone(recipe.backbone).pretrained_name
    assert name is not None  # the recipe has checked it
    source: dict[str, Any] = {}
    if recipe.weights_file is not None:
        source = {"pretrained_cfg_overlay": {"file": recipe.weights_file}}
    try:
        # with the weights' own classifier, which is not used: without it timm would take a file that lacks weights
        vit = timm.create_model(
            name, pretrained=True, img_size=PRETRAINED_PX, drop_path_rate=recipe.drop_path, **source
        )
    except (OSError, RuntimeError, ValueError, KeyError) as failure:
        place = recipe.weights_file or "the Hugging Face hub"
        reason = " ".join(f"{type(failure).__name__}: {failure}".split())
        raise Error(
            f"The weights {name} could not be read from {place} ({textwrap.shorten(reason, 160)})."
            " Set weights_file to a local copy, or pretrained=false."
        ) from failure
    assert isinstance(vit, VisionTransformer)
    return vit
