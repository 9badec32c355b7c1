"""The restated network of each recipe: its shape in upstream's numbers, and which recipes share one."""

from typing import Any

import timm
import torch
from torch import nn

from tests.trainables.parity.animesion_network import AnimesionNetwork
from tests.trainables.parity.dafre_network import TORCHVISION, ArcFaceResNet, ShallowNet, dafre_resnet, narrow_resnet
from tests.trainables.parity.residual_network import AGWNetwork, PaddleNetwork, ResidualNetwork
from tests.trainables.parity.transreid_network import TransReIDNetwork
from trainables.recipes import RECIPES
from trainables.recipes.backbones import get_backbone
from trainables.recipes.recipe import Recipe

NUM_WORKS, NUM_WORDS = 14, 104

# width, depth, heads, patch; the numbers of the tiny scale are ours, from trainables/recipes/backbones.py
TRANSFORMERS = {
    "vit_base_patch16_224": (768, 12, 12, 16),
    "deit_small_patch16_224": (384, 12, 6, 16),
    "deit_base_patch16_224": (768, 12, 12, 16),
    "vit_small_transreid": (768, 8, 8, 16),
    "vit_base_patch16_in21k": (768, 12, 12, 16),
    "vit_base_patch32_in21k": (768, 12, 12, 32),
    "vit_large_patch16_in21k": (1024, 24, 16, 16),
    "vit_large_patch32_in21k": (1024, 24, 16, 32),
}
RESIDUAL: dict[str, tuple[str, tuple[int, ...]]] = {
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
    "resnet101": ("bottleneck", (3, 4, 23, 3)),
    "resnet152": ("bottleneck", (3, 8, 36, 3)),
    "resnet50_ibn_a": ("bottleneck", (3, 4, 6, 3)),
    "legacy_seresnet50": ("se", (3, 4, 6, 3)),
    "legacy_seresnet101": ("se", (3, 4, 23, 3)),
    "legacy_seresnet152": ("se", (3, 8, 36, 3)),
    "legacy_seresnext50": ("se_next", (3, 4, 6, 3)),
    "legacy_seresnext101": ("se_next", (3, 4, 23, 3)),
}
KINDS = {
    "resnet18": "basic",
    "resnet50": "bottleneck",
    "legacy_seresnet50": "se",
    "legacy_seresnext50_32x4d": "se_next",
}
FULL = (64, 128, 256, 512)
FEW_WEIGHTS = 4e6  # networks beyond take seconds for each start


def restate(recipe: Any, num_words: int = NUM_WORDS) -> nn.Module:
    """The upstream network that this recipe names, with fresh weights."""
    return _animesion(recipe, num_words) if recipe.system == "animesion" else BUILDERS[recipe.system](recipe)


def is_large(recipe: Recipe) -> bool:
    """Whether the network has more than a few million weights."""
    with torch.device("meta"):
        return sum(weight.numel() for weight in restate(recipe).parameters()) > FEW_WEIGHTS


def groups() -> dict[tuple, list[Recipe]]:
    """Recipes that start from scratch, by what decides network and start: each network is built once."""
    found: dict[tuple, list[Recipe]] = {}
    for recipe in RECIPES.values():
        if not recipe.pretrained:
            found.setdefault(network_key(recipe), []).append(recipe)
    return found


def kind_of(recipe: Any) -> tuple:
    """What kind of network it is, whatever its depth, width and image size."""
    _, backbone, _, _, *others = network_key(recipe)
    if recipe.system != "open":
        names = ("shallownet", "_transreid", "vit", "resnet18", "seresnext", "seresnet", "ibn_a", "resnet")
        backbone = next(name for name in names if name in backbone)
    return (recipe.system, backbone, *others)


def network_key(recipe: Any) -> tuple:
    """What of a recipe decides its network and how that starts."""
    fields = ("system", "backbone", "image_size", "stride_px", "jpm", "pooling", "non_local", "head", "text_tokens")
    key = [getattr(recipe, field, None) for field in (*fields, "id_loss", "sub_centers")]
    if recipe.system == "open" or recipe.system == "agw" or "resnet" in recipe.backbone:
        key[2] = None if recipe.backbone != "eva02_tiny" else recipe.image_size
    hides = getattr(recipe, "text_tokens", 0) and recipe.masking != "none"
    return (*key, bool(hides))


def _transformer(recipe: Any) -> dict[str, int]:
    if recipe.backbone in TRANSFORMERS:
        numbers = TRANSFORMERS[recipe.backbone]
    else:
        tiny: Any = get_backbone(recipe.backbone)
        numbers = tiny.width, tiny.depth, tiny.num_heads, tiny.patch_px
    return dict(zip(("width", "depth", "heads", "patch"), numbers, strict=True))


def _residual(recipe: Any) -> dict[str, Any]:
    if recipe.backbone in RESIDUAL:
        kind, blocks = RESIDUAL[recipe.backbone]
        return {"kind": kind, "blocks": blocks, "planes": FULL}
    tiny: Any = get_backbone(recipe.backbone)
    kind = KINDS[tiny.architecture]
    return {"kind": kind, "blocks": tiny.arguments["layers"], "planes": tiny.arguments.get("channels", FULL)}


def _transreid(recipe: Any) -> nn.Module:
    shape: dict[str, Any] = _transformer(recipe)
    if recipe.backbone.endswith("_transreid"):
        # its ViT-Small: MLPs of 3 times the width, no bias on query, key and value, attention scaled by the width
        shape |= {"mlp_ratio": 3.0, "qkv_bias": False, "scale": shape["width"] ** -0.5}
    return TransReIDNetwork(
        **shape, image_size=recipe.image_size, stride=recipe.stride_px, classes=NUM_WORKS, jpm=recipe.jpm,
        shift=recipe.jpm_shift, groups=recipe.jpm_groups, parts=recipe.jpm_parts, drop_path=recipe.drop_path,
    )  # fmt: skip


def _agw(recipe: Any) -> nn.Module:
    shape = _residual(recipe)
    network = ResidualNetwork(
        **shape, init="torch" if shape["kind"].startswith("se") else "agw", last_stride=int(recipe.last_stride),
        stem_relu=recipe.stem_relu, ibn=recipe.backbone.endswith("ibn_a"), non_local=recipe.non_local,
    )  # fmt: skip
    return AGWNetwork(network, NUM_WORKS, gem=recipe.pooling == "gem")


def _dafre(recipe: Any) -> nn.Module:
    if recipe.backbone.startswith("vit"):
        return AnimesionNetwork(
            **_transformer(recipe), image_size=recipe.image_size, classes=NUM_WORKS, eps=1e-6,
            attention_dropout=recipe.dropout, dropout=recipe.dropout,
        )  # fmt: skip
    if recipe.backbone.startswith("shallownet"):
        return ShallowNet(recipe.image_size, get_backbone(recipe.backbone).width, NUM_WORKS)
    if recipe.backbone in TORCHVISION:
        network = dafre_resnet(recipe.backbone, NUM_WORKS)
    else:
        network = narrow_resnet(**_residual(recipe), classes=NUM_WORKS)
    return network if recipe.id_loss == "softmax" else ArcFaceResNet(network, NUM_WORKS)


def _animesion(recipe: Any, num_words: int) -> nn.Module:
    tags = recipe.text_tokens > 0 and recipe.masking != "none"
    return AnimesionNetwork(
        **_transformer(recipe), image_size=recipe.image_size, classes=NUM_WORKS, eps=1e-12, attention_dropout=0.0,
        dropout=recipe.dropout, head="ifa" if recipe.head == "ifa" else "masked" if tags else "norm",
        text_tokens=recipe.text_tokens, words=num_words, tags=tags,
    )  # fmt: skip


def _icartoonface(recipe: Any) -> nn.Module:
    return PaddleNetwork(ResidualNetwork(**_residual(recipe), init="paddle"), NUM_WORKS)


class OpenNetwork(nn.Module):
    """timm's network by name, without a classifier, and the neck of re-identification: `open` has no upstream."""

    def __init__(self, recipe: Any) -> None:
        super().__init__()
        shape: Any = get_backbone(recipe.backbone)
        sized = {"img_size": recipe.image_size} if shape.sized else {}
        settings = {"drop_path_rate": recipe.drop_path, **shape.arguments, **sized}
        self.network = timm.create_model(shape.architecture, num_classes=0, **settings)
        width = self.network.num_features
        self.neck, self.fc = nn.BatchNorm1d(width), nn.Linear(width, NUM_WORKS, bias=False)
        self.neck.bias.requires_grad_(False)
        nn.init.normal_(self.fc.weight, std=0.001)

    def forward(self, images: Any) -> Any:
        pooled = self.network(images)
        necked = self.neck(pooled)
        return {"logits": [self.fc(necked)], "features": [pooled], "necked": [necked]}


BUILDERS = {
    "transreid": _transreid,
    "agw": _agw,
    "dafre": _dafre,
    "icartoonface": _icartoonface,
    "open": OpenNetwork,
}
