"""TransReID (He et al. 2021, arXiv 2102.04378), as in LSASRD's Table 5, in LSASRD's code and in TransReID's code."""

import math
from dataclasses import dataclass
from typing import Any

from shards_tools.errors import Error
from trainables.losses.registry import ID_LOSSES
from trainables.recipes.backbones import Transformer, get_backbone
from trainables.recipes.checks import at_least_zero, require
from trainables.recipes.recipe import RankingRecipe
from trainables.recipes.tiny import TINY


@dataclass(frozen=True, kw_only=True)
class TransReIDRecipe(RankingRecipe):
    """A vision transformer with overlapping patches and, optionally, the jigsaw patch module (JPM)."""

    stride_px: int  # between patches; they overlap if it is less than the patch size
    jpm: bool  # local branches over shuffled patches, in addition to the global branch
    jpm_shift: int = 5  # the paper's m
    jpm_groups: int = 2
    jpm_parts: int = 4  # number of local branches, the paper's k
    drop_path: float = 0.1  # stochastic depth of the last block; it grows linearly from 0
    global_weight: float = 0.5  # of the global branch in each loss; the local branches share the rest
    sie_weight: float = 0.0  # of side information, 3.0 in TransReID's code; 0 is off, as in LSASRD's code

    def __post_init__(self) -> None:
        super().__post_init__()
        backbone = get_backbone(self.backbone)
        rule = "a vision transformer like vit_base_patch16_224"
        require(self, "backbone", isinstance(backbone, Transformer), rule)
        assert isinstance(backbone, Transformer)
        require(
            self, "stride_px", 1 <= self.stride_px <= backbone.patch_px, f"in 1..{backbone.patch_px}, the patch size"
        )
        rule = f"at least one patch of {backbone.patch_px} px"
        require(self, "image_size", min(self.size) >= backbone.patch_px, rule)
        require(self, "drop_path", 0 <= self.drop_path < 1, "a probability below 1")
        require(self, "global_weight", 0 < self.global_weight <= 1, "above 0 and at most 1")
        at_least_zero(self, "sie_weight")
        if self.jpm:
            self._check_jpm()

    def _check_jpm(self) -> None:
        if ID_LOSSES.find(self.id_loss).cosine:
            raise Error(
                f"{self.name}: id_loss={self.id_loss!r} cannot be combined with jpm=true: no paper defines it, and"
                " TransReID's code crashes. Set id_loss=softmax, or jpm=false."
            )
        for key in ("jpm_shift", "jpm_groups", "jpm_parts"):
            require(self, key, getattr(self, key) >= 1, "at least 1")
        require(self, "jpm_parts", self.jpm_parts <= self.num_patches, f"at most the {self.num_patches} patches")
        require(self, "jpm_shift", self.jpm_shift <= self.num_patches, f"at most the {self.num_patches} patches")
        if -self.num_patches % self.jpm_groups > 1:
            raise Error(
                f"{self.name}: jpm_groups={self.jpm_groups} divides neither {self.num_patches} patches nor, with one"
                f" patch repeated, {self.num_patches + 1}. Set jpm_groups=2, or change stride_px or image_size."
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        backbone = get_backbone(self.backbone)
        assert isinstance(backbone, Transformer)
        rows, columns = ((side - backbone.patch_px) // self.stride_px + 1 for side in self.size)
        return rows, columns

    @property
    def num_patches(self) -> int:
        """Patches per image: the tokens without the class token."""
        return math.prod(self.grid)


def _paper(row: str, **values: Any) -> TransReIDRecipe:
    """Return a row of LSASRD's Table 5 as its text describes it; the released code fills in what the text omits.

    16 works x 4 images of 256 px from the papers' sampler, ImageNet weights, SGD, 100 epochs. The learning rate starts
    at a third of its value, rises for five epochs and falls along a cosine.
    """
    settings: dict[str, Any] = {
        "name": f"transreid-{row.lower()}",
        "system": "transreid",
        "table": "LSASRD Table 5",
        "row": row,
        "preset": "paper",
        "scale": "paper",
        "pretrained": True,
        "image_size": 256,
        "batch_sampler": "papers",
        "lr": 0.008,
        "bias_lr_factor": 2.0,
        "schedule": "cosine",
        "warmup_start": 1 / 3,
        "precision": "bf16",
        "stride_px": 16,
        "jpm": False,
    }
    return TransReIDRecipe(**{**settings, **values})


def _code(recipe: TransReIDRecipe) -> TransReIDRecipe:
    """Return the row as LSASRD's released code trains it: random erasing as in AGW, and a multi-step schedule.

    The warm-up lasts 500 epochs and starts at a third of the learning rate, so the learning rate never exceeds 0.372 of
    its value. ViT-Base has 4 works x 16 images, because its configuration omits the number. ViT-JPM starts from random
    weights.
    """
    quirks: dict[str, dict[str, Any]] = {
        "transreid-vit-base": {"works_per_batch": 4, "images_per_work": 16},
        "transreid-vit-jpm": {"pretrained": False},
    }
    return recipe.variant(
        f"{recipe.name}-code",
        preset="code",
        erase_fill="agw",
        schedule="multistep",
        warmup_epochs=500,
        milestones=(30, 60),
        **quirks.get(recipe.name, {}),
    )


def _upstream(recipe: TransReIDRecipe) -> TransReIDRecipe:
    """Return the row as TransReID's authors train it.

    120 epochs, a cosine after five epochs of warm-up from a hundredth of the learning rate, timm's random erasing, and
    bicubic resizing in training.
    """
    return recipe.variant(
        f"{recipe.name}-upstream",
        preset="upstream",
        schedule="transreid",
        warmup_start=0.01,
        epochs=120,
        train_resize="bicubic",
    )


ROWS = (
    _paper("DeiT-Small", backbone="deit_small_patch16_224", erase_probability=0.8, lr=0.005),
    _paper("DeiT-Stride", backbone="deit_base_patch16_224", erase_probability=0.8, stride_px=12, jpm=True),
    _paper("ViT-Small", backbone="vit_small_transreid", erase_probability=0.8, lr=0.005),
    _paper("ViT-Base", backbone="vit_base_patch16_224"),
    _paper("ViT-JPM", backbone="vit_base_patch16_224", jpm=True),
    _paper("ViT-Stride", backbone="vit_base_patch16_224", stride_px=12, jpm=True),
)


def _hand_set() -> TransReIDRecipe:
    """Return the hand-set baseline of the tiny scale, which learns from scratch within a few short epochs.

    On Omniglot, these settings help most: AdamW, two blocks instead of four, many overlapping patches, each a quarter
    of the image wide, and no flips, erasing or drop path, which such short trainings do not need.
    """
    return TransReIDRecipe(
        name="transreid-tiny",
        system="transreid",
        backbone="vit_96x2",
        image_size=32,
        flip_probability=0.0,
        pad_px=1,
        erase_probability=0.0,
        optimizer="adamw",
        lr=0.001,
        weight_decay=0.05,
        warmup_epochs=0,
        warmup_start=1 / 3,
        stride_px=2,
        jpm=False,
        drop_path=0.0,
        **TINY,
    )


RECIPES = (*ROWS, *map(_code, ROWS), *map(_upstream, ROWS), _hand_set())
