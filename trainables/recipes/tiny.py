"""The tiny twin of a recipe: the same architecture but narrow and shallow, small images, and a few short epochs.

Learning rates, losses and augmentation stay as the papers print them.
"""

from typing import Any

from shards_tools.errors import Error
from trainables.recipes.backbones import ConvNet, TimmModel, Transformer, get_backbone
from trainables.recipes.images import Size
from trainables.recipes.recipe import ClassifierRecipe, Recipe

IMAGE_PX = 48  # of the short side
PATCH_PX = 8  # of most tiny transformers
NUM_EPOCHS = 9
IMAGES_PER_EPOCH = 2048
# what every recipe at tiny scale has, also those set by hand
TINY: dict[str, Any] = {
    "scale": "tiny",
    "pretrained": False,
    "images_per_epoch": IMAGES_PER_EPOCH,
    "epochs": NUM_EPOCHS,
}
LARGEST_BATCH = 64
# Backbones that differ in a paper's table differ here too, so that its rows stay different networks.
TINY_BACKBONES = {
    "deit_small_patch16_224": "vit_64x4",
    "deit_base_patch16_224": "vit_96x3",
    "vit_small_transreid": "vit_96x4_transreid",
    "vit_base_patch32_in21k": "vit_96x4_patch16",
    "vit_large_patch16_in21k": "vit_96x6",
    "vit_large_patch32_in21k": "vit_96x6_patch16",
    "shallownet": "shallownet_64",
    "dinov2_small": "dinov2_tiny",
    "dinov2_base": "dinov2_tiny",
    "dinov3_small": "dinov3_tiny",
    "dinov3_base": "dinov3_tiny",
    "siglip2_base": "siglip2_tiny",
    "eva02_base": "eva02_tiny",
    "wd_eva02_large_tagger": "eva02_tiny",
    "wd_vit_tagger": "wd_vit_tiny",
    "convnext_base": "convnext_tiny",
    "dinov3_convnext_base": "convnext_tiny",
    "wd_convnext_tagger": "convnext_tiny",
    "resnet18": "resnet18_32",
    "resnet101": "resnet101_16",
    "resnet152": "resnet152_16",
    "resnet50_ibn_a": "resnet50_16_ibn_a",
    "legacy_seresnet50": "legacy_seresnet_tiny",
    "legacy_seresnet101": "legacy_seresnet101_tiny",
    "legacy_seresnet152": "legacy_seresnet152_tiny",
    "legacy_seresnext50": "legacy_seresnext_tiny",
    "legacy_seresnext101": "legacy_seresnext101_tiny",
}


def tiny_form(recipe: Recipe) -> Recipe:
    """Return the recipe at tiny scale, named NAME-tiny."""
    size = _tiny_size(recipe)
    shrink = min(size) / min(recipe.size)
    changes: dict[str, Any] = {
        **TINY,
        "backbone": _tiny_backbone(recipe.backbone),
        "frozen_backbone": False,  # a frozen backbone with random weights would learn nothing
        "image_size": size.setting,
        "pad_px": round(shrink * recipe.pad_px),
        "enlarge_px": round(shrink * recipe.enlarge_px),
        "evaluation_px": round(shrink * recipe.evaluation_px),
        "warmup_epochs": _in_proportion(recipe.warmup_epochs, recipe.epochs),
        "milestones": tuple(sorted({_in_proportion(epoch, recipe.epochs) for epoch in recipe.milestones})),
        "precision": "tf32",
    }
    if hasattr(recipe, "stride_px"):
        patches = get_backbone(recipe.backbone), get_backbone(changes["backbone"])
        assert isinstance(patches[0], Transformer)
        assert isinstance(patches[1], Transformer)
        changes["stride_px"] = recipe.stride_px * patches[1].patch_px // patches[0].patch_px
    if isinstance(recipe, ClassifierRecipe):
        changes["batch_size"] = min(recipe.batch_size, LARGEST_BATCH)
        changes["warmup_steps"] = min(recipe.warmup_steps, IMAGES_PER_EPOCH // changes["batch_size"])
    return recipe.variant(f"{recipe.name}-tiny", **changes)


def _tiny_backbone(name: str) -> str:
    """Return the name of the twin's backbone; timm's models and registered networks are kept."""
    if name in TINY_BACKBONES:
        return TINY_BACKBONES[name]
    shape = get_backbone(name)
    if isinstance(shape, Transformer):
        return "vit_96x4"
    return "resnet50_16" if isinstance(shape, ConvNet) else name


def _tiny_size(recipe: Recipe) -> Size:
    short = min(recipe.size)
    # the long side is rounded down to whole patches
    size = Size(*(IMAGE_PX * side // short // PATCH_PX * PATCH_PX for side in recipe.size))
    if isinstance(get_backbone(recipe.backbone), TimmModel):
        from trainables.models.timm_models import check_size

        try:
            check_size(recipe.backbone, size)
        except Error:  # it only takes larger images
            return recipe.size
    return size


def _in_proportion(epoch: int, epochs: int) -> int:
    """Scale an epoch to the tiny schedule, rounding up: 0 stays 0, and a warm-up past the end stays past it."""
    return -(-epoch * NUM_EPOCHS // epochs)
