"""The backbones that recipes can name, described by plain numbers, so that reading a recipe needs no torch.

`pretrained_name` is timm's name of the weights, or the name of a file that no registry offers; None: no weights.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from shards_tools.registry import Registry
from trainables.factories import check_factory

TIMM = "timm/"  # prefix of the names of timm's models


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A network whose feature has `width` dimensions."""

    width: int
    pretrained_name: str | None = None
    in_registry: bool = True  # whether timm can download these weights; if not, weights_file is needed


@dataclass(frozen=True, kw_only=True)
class Transformer(Backbone):
    """A vision transformer with a class token, learned position embeddings and pre-norm blocks."""

    depth: int
    num_heads: int
    patch_px: int
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    attention_scale: float | None = None  # factor of query times key; None: 1 / sqrt(channels per head)


@dataclass(frozen=True, kw_only=True)
class ConvNet(Backbone):
    """A convolutional network of timm: `architecture` is its name there, and `arguments` make it smaller."""

    architecture: str
    arguments: dict[str, Any] = field(default_factory=dict)
    ibn: bool = False  # instance norms in the first three stages (IBN-a)


@dataclass(frozen=True, kw_only=True)
class AnyNetwork(Backbone):
    """A network of timm that is used unchanged: its own pooling returns the feature."""

    architecture: str
    arguments: dict[str, Any] = field(default_factory=dict)
    grid_px: int  # image pixels per token, or per position of the last map
    sized: bool = True  # whether it is built for one image size
    reads_bgr: bool = False  # whether its weights expect BGR images


@dataclass(frozen=True, kw_only=True)
class TimmModel(Backbone):
    """Any model of timm, named `backbone=timm/NAME`; `width` is its feature dimension at its native size."""

    size: tuple[int, int]  # the native height and width in px, from timm's config
    fixed_size: bool  # whether it is built for one image size
    pixel_mean: tuple[float, float, float]
    pixel_std: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class OwnNetwork(Backbone):
    """A network that a user registered; its `num_features` is the dimension of its feature."""

    factory: Callable[..., Any]
    width: int = 0


@dataclass(frozen=True, kw_only=True)
class Shallow(Backbone):
    """DAF:re's SN: a network of two convolutions and two linear layers."""

    channels: tuple[int, int]


def _vit(width: int, depth: int, patch_px: int, channels_per_head: int = 64, **more: Any) -> Transformer:
    return Transformer(width=width, depth=depth, num_heads=width // channels_per_head, patch_px=patch_px, **more)


def _tiny_vit(width: int, depth: int) -> Transformer:
    return _vit(width, depth, 8, channels_per_head=32)


def _resnet(architecture: str, weights: str | None, width: int = 2048) -> ConvNet:
    return ConvNet(width=width, architecture=architecture, pretrained_name=weights and f"{architecture}.{weights}")


# blocks in each stage at the tiny scale: the deeper networks of a table stay deeper
TINY_BLOCKS = {"50": (1, 1, 1, 1), "101": (1, 1, 2, 1), "152": (1, 2, 2, 1)}


def _tiny_resnet(depth: str, channels: int, ibn: bool = False) -> ConvNet:
    stages = tuple(channels * 2**stage for stage in range(4))
    return ConvNet(
        width=stages[-1] * (1 if depth == "18" else 4),
        architecture="resnet18" if depth == "18" else "resnet50",
        arguments={"layers": TINY_BLOCKS.get(depth, TINY_BLOCKS["50"]), "channels": stages},
        ibn=ibn,
    )


def _tiny_senet(architecture: str, depth: str) -> ConvNet:
    return ConvNet(width=2048, architecture=architecture, arguments={"layers": TINY_BLOCKS[depth]})


TRANSFORMERS = {
    # jx_vit_base_p16_224-80ecf9dd, the weights of TransReID and of LSASRD's Table 5
    "vit_base_patch16_224": _vit(768, 12, 16, pretrained_name="vit_base_patch16_224.orig_in21k_ft_in1k"),
    # DeiT-Small's shape; the weights that timm's authors recommend for it
    "vit_small_patch16_224": _vit(384, 12, 16, pretrained_name="vit_small_patch16_224.augreg_in21k_ft_in1k"),
    # DeiT without its distillation token
    "deit_small_patch16_224": _vit(384, 12, 16, pretrained_name="deit_small_distilled_patch16_224.fb_in1k"),
    "deit_base_patch16_224": _vit(768, 12, 16, pretrained_name="deit_base_distilled_patch16_224.fb_in1k"),
    # TransReID's own ViT-Small, whose attention scale uses all channels; timm no longer offers its weights
    "vit_small_transreid": _vit(
        768, 8, 16, channels_per_head=96, mlp_ratio=3.0, qkv_bias=False, attention_scale=768**-0.5,
        pretrained_name="vit_small_p16_224-15ec54c9", in_registry=False,
    ),
    # Animesion's ViTs, from ImageNet-21k
    "vit_base_patch16_in21k": _vit(768, 12, 16, pretrained_name="vit_base_patch16_224.orig_in21k"),
    "vit_base_patch32_in21k": _vit(768, 12, 32, pretrained_name="vit_base_patch32_224.orig_in21k"),
    "vit_large_patch16_in21k": _vit(1024, 24, 16, pretrained_name="vit_large_patch16_224.orig_in21k"),
    "vit_large_patch32_in21k": _vit(1024, 24, 32, pretrained_name="vit_large_patch32_224.orig_in21k"),
    # the tiny scale: the same blocks, WIDTHxDEPTH, 32 channels per head, patches of 8 px
    **{f"vit_{width}x{depth}": _tiny_vit(width, depth) for width, depth in (
        (64, 2), (64, 3), (64, 4), (96, 2), (96, 3), (96, 4), (96, 6), (128, 2), (128, 4), (192, 4),
    )},
    "vit_96x4_transreid": _vit(
        96, 4, 8, channels_per_head=32, mlp_ratio=3.0, qkv_bias=False, attention_scale=96**-0.5
    ),
    "vit_96x4_patch16": _vit(96, 4, 16, channels_per_head=32),
    "vit_96x6_patch16": _vit(96, 6, 16, channels_per_head=32),
}  # fmt: skip

CONV_NETS = {
    # torchvision's first weights, those of AGW and of LSASRD's Table 4
    "resnet18": _resnet("resnet18", "tv_in1k", width=512),
    "resnet50": _resnet("resnet50", "tv_in1k"),
    "resnet101": _resnet("resnet101", "tv_in1k"),
    "resnet152": _resnet("resnet152", "tv_in1k"),
    # IBN-Net's weights; half of each first norm is an instance norm
    "resnet50_ibn_a": ConvNet(
        width=2048, architecture="resnet50", pretrained_name="resnet50_ibn_a-d9d0bb7b", in_registry=False, ibn=True
    ),
    # Caffe's squeeze-and-excitation networks, with the stride in the first convolution of a block
    "legacy_seresnet50": _resnet("legacy_seresnet50", "in1k"),
    "legacy_seresnet101": _resnet("legacy_seresnet101", "in1k"),
    "legacy_seresnet152": _resnet("legacy_seresnet152", "in1k"),
    "legacy_seresnext50": _resnet("legacy_seresnext50_32x4d", "in1k"),
    "legacy_seresnext101": _resnet("legacy_seresnext101_32x4d", "in1k"),
    # the tiny scale: one or two blocks per stage, WIDTH channels in the first; basic blocks for 18, else bottlenecks
    "resnet18_32": _tiny_resnet("18", 32),
    "resnet50_16": _tiny_resnet("50", 16),
    "resnet50_32": _tiny_resnet("50", 32),
    "resnet101_16": _tiny_resnet("101", 16),
    "resnet152_16": _tiny_resnet("152", 16),
    "resnet50_16_ibn_a": _tiny_resnet("50", 16, ibn=True),
    "legacy_seresnet_tiny": _tiny_senet("legacy_seresnet50", "50"),
    "legacy_seresnet101_tiny": _tiny_senet("legacy_seresnet50", "101"),
    "legacy_seresnet152_tiny": _tiny_senet("legacy_seresnet50", "152"),
    "legacy_seresnext_tiny": _tiny_senet("legacy_seresnext50_32x4d", "50"),
    "legacy_seresnext101_tiny": _tiny_senet("legacy_seresnext50_32x4d", "101"),
}


TINY_TOKENS: dict[str, Any] = {"embed_dim": 64, "depth": 2, "num_heads": 2, "patch_size": 8}
TINY_STAGES = {"depths": (1, 1, 1, 1), "dims": (16, 32, 64, 128)}


def _any(width: int, name: str, grid_px: int, **more: Any) -> AnyNetwork:
    return AnyNetwork(width=width, architecture=name.partition(".")[0], pretrained_name=name, grid_px=grid_px, **more)


def _tagger(width: int, architecture: str, name: str, grid_px: int, **more: Any) -> AnyNetwork:
    """Return one of SmilingWolf's taggers, trained on Danbooru's drawings; its tags include characters and works."""
    hub = f"hf-hub:SmilingWolf/{name}"
    settings = {"pretrained_name": hub, "grid_px": grid_px, "reads_bgr": True, **more}
    return AnyNetwork(width=width, architecture=architecture, **settings)


def _tiny_any(architecture: str, width: int = 64, grid_px: int = 8, **more: Any) -> AnyNetwork:
    settings = {"arguments": TINY_TOKENS, "grid_px": grid_px, **more}
    return AnyNetwork(width=width, architecture=architecture, **settings)


OPEN_NETWORKS = {
    "dinov2_small": _any(384, "vit_small_patch14_dinov2.lvd142m", 14),
    "dinov2_base": _any(768, "vit_base_patch14_dinov2.lvd142m", 14),
    "dinov3_small": _any(384, "vit_small_patch16_dinov3.lvd1689m", 16),
    "dinov3_base": _any(768, "vit_base_patch16_dinov3.lvd1689m", 16),
    "dinov3_convnext_base": _any(1024, "convnext_base.dinov3_lvd1689m", 32, sized=False),
    "siglip2_base": _any(768, "vit_base_patch16_siglip_256.v2_webli", 16),
    "convnext_base": _any(1024, "convnext_base.fb_in22k", 32, sized=False),
    "eva02_base": _any(768, "eva02_base_patch14_224.mim_in22k", 14),
    "wd_vit_tagger": _tagger(
        768, "vit_base_patch16_224", "wd-vit-tagger-v3", 16,
        arguments={"class_token": False, "global_pool": "avg", "fc_norm": False},
    ),
    "wd_convnext_tagger": _tagger(1024, "convnext_base", "wd-convnext-tagger-v3", 32, sized=False),
    "wd_eva02_large_tagger": _tagger(1024, "eva02_large_patch14_448", "wd-eva02-large-tagger-v3", 14),
    # the tiny scale: two blocks, or one in each stage
    "dinov2_tiny": _tiny_any("vit_small_patch14_dinov2"),
    "dinov3_tiny": _tiny_any("vit_small_patch16_dinov3"),
    "siglip2_tiny": _tiny_any("vit_base_patch16_siglip_256"),
    "eva02_tiny": _tiny_any("eva02_base_patch14_224"),
    "wd_vit_tiny": _tiny_any(
        "vit_base_patch16_224", arguments={**TINY_TOKENS, "class_token": False, "global_pool": "avg", "fc_norm": False}
    ),
    "convnext_tiny": _tiny_any("convnext_base", 128, 32, arguments=TINY_STAGES, sized=False),
}  # fmt: skip

SHALLOW_NETS = {
    "shallownet": Shallow(width=512, channels=(16, 32)),
    "shallownet_64": Shallow(width=64, channels=(16, 32)),  # the tiny scale
}

BACKBONES: Registry[Backbone] = Registry("backbone", {**TRANSFORMERS, **CONV_NETS, **OPEN_NETWORKS, **SHALLOW_NETS})


def get_backbone(name: str) -> Backbone:
    """Return the backbone called `name`; `timm/NAME` is read from timm's config, which imports timm.

    Raises:
        Error: there is no such backbone.
    """
    if name.startswith(TIMM):
        from trainables.models.timm_models import timm_backbone

        return timm_backbone(name)
    return BACKBONES.find(name)


def register_backbone(name: str, factory: Callable[..., Any]) -> None:
    """Make a network available as `backbone=NAME` of the recipes `open` and `open-tiny`.

    Args:
        factory: `factory(recipe)` returns an `nn.Module` with an int `num_features` that maps normalized images
            (B x 3 x H x W, float) to features (B x num_features). It decides what `recipe.pretrained` means.

    Raises:
        Error: the name is taken by a different backbone, or the factory has other parameters.
    """
    check_factory("backbone", name, factory, ("recipe",))
    BACKBONES.register(name, OwnNetwork(factory=factory))
