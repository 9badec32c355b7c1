"""The backbones that recipes may name, as plain numbers: reading a recipe needs no torch."""

from dataclasses import dataclass

from shards_tools.errors import unknown


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """The shape of a vision transformer."""

    width: int
    depth: int
    num_heads: int
    patch_px: int
    pretrained_name: str | None = None  # timm's name of its ImageNet weights; None: there are none


BACKBONES = {
    # jx_vit_base_p16_224-80ecf9dd, the weights of TransReID and of LSASRD Table 5
    "vit_base_patch16_224": Backbone(
        width=768, depth=12, num_heads=12, patch_px=16, pretrained_name="vit_base_patch16_224.orig_in21k_ft_in1k"
    ),
    # DeiT-Small's shape; the weights that timm's authors recommend for it
    "vit_small_patch16_224": Backbone(
        width=384, depth=12, num_heads=6, patch_px=16, pretrained_name="vit_small_patch16_224.augreg_in21k_ft_in1k"
    ),
    # the tiny scale: the same blocks, WIDTHxDEPTH, 32 channels per head, patches of 8 px
    "vit_64x2": Backbone(width=64, depth=2, num_heads=2, patch_px=8),
    "vit_64x3": Backbone(width=64, depth=3, num_heads=2, patch_px=8),
    "vit_96x2": Backbone(width=96, depth=2, num_heads=3, patch_px=8),
    "vit_96x4": Backbone(width=96, depth=4, num_heads=3, patch_px=8),
    "vit_96x6": Backbone(width=96, depth=6, num_heads=3, patch_px=8),
    "vit_128x2": Backbone(width=128, depth=2, num_heads=4, patch_px=8),
    "vit_128x4": Backbone(width=128, depth=4, num_heads=4, patch_px=8),
    "vit_192x4": Backbone(width=192, depth=4, num_heads=6, patch_px=8),
}


def get_backbone(name: str) -> Backbone:
    """The backbone called `name`."""
    if name not in BACKBONES:
        raise unknown("backbone", name, BACKBONES)
    return BACKBONES[name]
