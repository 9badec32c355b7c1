"""Animesion v2 (Rios et al. 2022): intermediate features aggregation (IFA), and tags beside the image (ViLT).

The paper's tables are in no source at hand; its authors' README gives the headlines that are rows here.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from shards_tools.errors import Error
from trainables.recipes.backbones import Transformer, get_backbone
from trainables.recipes.checks import above_zero, at_least_zero, probabilities, require
from trainables.recipes.dafre import DAFreRecipe


@dataclass(frozen=True, kw_only=True)
class AnimesionRecipe(DAFreRecipe):
    """A vision transformer whose class tokens of all blocks classify, and which may read an image's tags."""

    head: Literal["last", "ifa"] = "last"  # the class token of the last block, or those of all blocks, mixed
    text_tokens: int = 0  # tokens of tags beside the image's, two of them marks; 0: no tags are read
    tokenizer: Literal["tags", "wordpieces"] = "tags"  # a token per tag that the data know, or BERT's pieces of words
    vocabulary_file: str | None = None  # of wordpieces, a vocab.txt; None: bert-base-uncased's, from the hub
    masking: Literal["none", "bert", "full", "sigmoid"] = "bert"  # how many tags are hidden in training
    mask_with: Literal["constant", "random"] = "constant"  # by what
    mask_warmup: float = 0.1  # of sigmoid: the part of the training before any tag is hidden
    mask_cooldown: float = 0.5  # of sigmoid: the last part, in which all are
    tag_weight: float = 1.0  # of guessing the hidden tags; 0 is off
    exclusion_weight: float = 0.0  # of blocks being unlike; 0 is off. The authors' 0.01
    exclusion_distance: int = 2  # between the blocks that are compared
    exclusion_temperature: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        shape = get_backbone(self.backbone)
        require(self, "backbone", isinstance(shape, Transformer), "a vision transformer, as vit_large_patch16_in21k is")
        assert isinstance(shape, Transformer)
        rule = "none where tokenizer=tags, whose vocabulary is made of the data's tags"
        require(self, "vocabulary_file", self.tokenizer == "wordpieces" or self.vocabulary_file is None, rule)
        probabilities(self, "mask_warmup", "mask_cooldown")
        at_least_zero(self, "tag_weight", "exclusion_weight")
        above_zero(self, "exclusion_distance", "exclusion_temperature")
        require(self, "text_tokens", self.text_tokens == 0 or self.text_tokens >= 3, "0, or at least 3")
        if self.mask_warmup + self.mask_cooldown > 1:
            both = f"mask_warmup={self.mask_warmup} and mask_cooldown={self.mask_cooldown}"
            raise Error(f"{self.name}: {both} are more than the whole training. Set one lower.")
        if self.exclusion_weight:
            rule = f"less than the {shape.depth} blocks"
            require(self, "exclusion_distance", self.exclusion_distance < shape.depth, rule)


def _headline(row: str, name: str, **values: Any) -> AnimesionRecipe:
    """A headline of the README: L-16 at 128 px in batches of 16 for 50 epochs.

    SGD at 0.001 warms up for 1,000 steps and falls along a cosine.
    """
    settings: dict[str, Any] = {
        "name": name,
        "system": "animesion",
        "table": "Animesion README",
        "row": row,
        "preset": "upstream",
        "scale": "paper",
        "backbone": "vit_large_patch16_in21k",
        "pretrained": True,
        "image_size": 128,
        "enlarge_px": 32,
        "pad_px": 0,
        "jitter_brightness": 0.1,
        "jitter_contrast": 0.1,
        "jitter_saturation": 0.1,
        "jitter_hue": 0.1,
        "erase_probability": 0.0,
        "batch_size": 16,
        "dropout": 0.1,
        "lr": 0.001,
        "weight_decay": 0.0,
        "schedule": "step_cosine",
        "warmup_epochs": 0,
        "warmup_steps": 1000,
        "epochs": 50,
    }
    return AnimesionRecipe(**{**settings, **values})


L16 = _headline("L-16", "animesion-l16")
IFA = _headline("L-16 + IFA", "animesion-l16-ifa", head="ifa")
# 16 tokens of tags, all hidden: the README's command for recognition and tagging
VILT = _headline("ViLT L-16 (vision+tags)", "animesion-l16-vilt", text_tokens=16, masking="full")
# the same on the smaller backbone that is its code's default
B16 = tuple(
    dataclasses.replace(
        recipe,
        name=recipe.name.replace("l16", "b16"),
        table=None,
        row=None,
        backbone="vit_base_patch16_in21k",
        batch_size=16 if recipe is VILT else 64,
    )
    for recipe in (L16, IFA, VILT)
)
# the README's command for recognition alone: 32 word pieces, none of them hidden
WORDPIECES = dataclasses.replace(
    B16[-1],
    name="animesion-b16-vilt-wordpieces",
    batch_size=64,
    text_tokens=32,
    tokenizer="wordpieces",
    masking="none",
)


def _hand_set() -> AnimesionRecipe:
    """The baseline of the tiny scale, set by hand: AdamW, which trains a small transformer from scratch."""
    return AnimesionRecipe(
        name="animesion-tiny",
        system="animesion",
        scale="tiny",
        backbone="vit_96x4",
        pretrained=False,
        image_size=48,
        images_per_epoch=2048,
        enlarge_px=6,
        pad_px=0,
        erase_probability=0.0,
        batch_size=64,
        head="ifa",
        optimizer="adamw",
        lr=0.001,
        weight_decay=0.05,
        warmup_epochs=1,
        epochs=9,
    )


RECIPES = (L16, IFA, VILT, *B16, WORDPIECES, _hand_set())
