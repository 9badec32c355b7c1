"""The family `open`: current pretrained backbones, trained with current practice of re-identification.

DINOv2 and v3, SigLIP 2, ConvNeXt, EVA-02, and taggers trained on Danbooru's drawings. No paper has these rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from shards_tools.errors import Error
from trainables.recipes.backbones import TIMM, AnyNetwork, OwnNetwork, TimmModel, get_backbone
from trainables.recipes.checks import require
from trainables.recipes.images import IMAGENET, Size
from trainables.recipes.recipe import RankingRecipe
from trainables.recipes.tiny import TINY

HALF: dict[str, Any] = {"pixel_mean": (0.5, 0.5, 0.5), "pixel_std": (0.5, 0.5, 0.5)}
CLIP: dict[str, Any] = {
    "pixel_mean": (0.48145466, 0.4578275, 0.40821073),
    "pixel_std": (0.26862954, 0.26130258, 0.27577711),
}
CONV = {"channels_last": True}


@dataclass(frozen=True, kw_only=True)
class OpenRecipe(RankingRecipe):
    """Any network of timm or a registered one, with a neck; its own pooling returns the feature."""

    WORDS: ClassVar[Mapping[str, tuple[str, ...]]] = {"image_size": ("native",)}

    drop_path: float = 0.0  # stochastic depth of the last block; it grows linearly from 0

    def __post_init__(self) -> None:
        super().__post_init__()
        shape = get_backbone(self.backbone)
        rule = "an open network like dinov2_base, timm/NAME or a registered network"
        require(self, "backbone", isinstance(shape, AnyNetwork | TimmModel | OwnNetwork), rule)
        require(self, "drop_path", 0 <= self.drop_path < 1, "a probability below 1")
        if isinstance(shape, AnyNetwork):
            if shape.sized:
                fits = all(side % shape.grid_px == 0 for side in self.size)
                require(self, "image_size", fits, f"a multiple of {shape.grid_px}, the patch size")
            else:
                require(self, "image_size", min(self.size) >= shape.grid_px, f"at least {shape.grid_px}")
        if isinstance(shape, TimmModel):
            from trainables.models.timm_models import check_size

            check_size(self.backbone, self.size)

    def completed(self, values: Mapping[str, object]) -> Mapping[str, object]:
        """Return the values; a new `timm/NAME` adds its normalization, and `native` becomes its image size.

        Raises:
            Error: image_size=native without `timm/NAME`.
        """
        name = values.get("backbone", self.backbone)
        native = values.get("image_size") == "native"
        if not isinstance(name, str) or not name.startswith(TIMM):
            if native:
                raise Error(f"{self.name}: image_size=native works only with backbone=timm/NAME. Set image_size in px.")
            return values
        shape = get_backbone(name)
        assert isinstance(shape, TimmModel)
        implied = {"pixel_mean": shape.pixel_mean, "pixel_std": shape.pixel_std} if "backbone" in values else {}
        return {**implied, **values, **({"image_size": Size(*shape.size).setting} if native else {})}


def _open(name: str, backbone: str, image_size: int, **values: Any) -> OpenRecipe:
    """Return a recipe of the family.

    AdamW with layer-wise learning rate decay, 40 epochs, softmax with label smoothing, and a soft-margin triplet.
    """
    settings: dict[str, Any] = {
        "name": name,
        "system": "open",
        "scale": "paper",
        "backbone": backbone,
        "pretrained": True,
        "image_size": image_size,
        **IMAGENET,
        "label_smoothing": 0.1,
        "neck_feature": "after",
        "optimizer": "adamw",
        "lr": 1e-4,
        "weight_decay": 0.05,
        "decay_vectors": False,
        "layer_lr_decay": 0.75,
        "clip_norm": 1.0,
        "ema_decay": 0.999,
        "epochs": 40,
        "drop_path": 0.1,
        "precision": "bf16",
    }
    return OpenRecipe(**{**settings, **values})


def _hand_set() -> OpenRecipe:
    """Return the hand-set baseline of the tiny scale: a small ConvNeXt, which learns from scratch."""
    return OpenRecipe(
        name="open-tiny",
        system="open",
        backbone="convnext_tiny",
        image_size=64,
        flip_probability=0.0,
        pad_px=2,
        erase_probability=0.0,
        neck_feature="after",
        optimizer="adamw",
        lr=2e-3,
        weight_decay=0.05,
        decay_vectors=False,
        warmup_epochs=1,
        **TINY,
    )


RECIPES = (
    # for any backbone: set backbone=timm/NAME, or a registered one
    _open("open", "convnext_base", 256, **CONV),
    _open("open-dinov2-small", "dinov2_small", 224),
    _open("open-dinov2-base", "dinov2_base", 224),
    _open("open-dinov3-small", "dinov3_small", 256),
    _open("open-dinov3-base", "dinov3_base", 256),
    _open("open-dinov3-convnext-base", "dinov3_convnext_base", 256, **CONV),
    _open("open-siglip2-base", "siglip2_base", 256, **HALF),
    _open("open-convnext-base", "convnext_base", 256, **CONV),
    _open("open-eva02-base", "eva02_base", 224, **CLIP),
    _open("open-wd-vit-tagger", "wd_vit_tagger", 256, **HALF),
    _open("open-wd-convnext-tagger", "wd_convnext_tagger", 256, **HALF, **CONV),
    _open("open-wd-eva02-large-tagger", "wd_eva02_large_tagger", 224, **HALF),
    _hand_set(),
)
