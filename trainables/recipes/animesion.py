"""Animesion v2 (Rios et al. 2022): intermediate features aggregation (IFA), and tags as a second input (ViLT).

The rows are the headline results in the authors' README, because the paper's tables were not available.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from shards_tools.errors import Error
from trainables.recipes.backbones import Transformer, get_backbone
from trainables.recipes.checks import above_zero, at_least_zero, probabilities, require
from trainables.recipes.dafre import DAFreRecipe
from trainables.recipes.images import JITTERS
from trainables.recipes.tiny import HAND_SET


@dataclass(frozen=True, kw_only=True)
class AnimesionRecipe(DAFreRecipe):
    """A vision transformer that classifies from the class tokens of all blocks or the last, and may read tags."""

    head: Literal["last", "ifa"] = "last"  # last: the class token of the last block; ifa: those of all blocks, mixed
    text_tokens: int = 0  # tokens of tags in addition to the image's, including two marks; 0: no tags
    tokenizer: Literal["tags", "wordpieces"] = "tags"  # a token per tag in the data, or BERT's word pieces
    vocabulary_file: str | None = None  # of wordpieces: a vocab.txt; None: bert-base-uncased's, from the hub
    masking: Literal["none", "bert", "full", "sigmoid"] = "bert"  # how many tags are masked in training
    mask_with: Literal["constant", "random"] = "constant"  # what replaces a masked tag: one unused token, or any tag
    mask_warmup: float = 0.1  # of sigmoid: fraction of the training before any tag is masked
    mask_cooldown: float = 0.5  # of sigmoid: last fraction of the training, when all tags are masked
    tag_weight: float = 1.0  # of the loss of the masked tags; 0 is off
    exclusion_weight: float = 0.0  # of the loss that makes blocks differ; 0 is off, the authors use 0.01
    exclusion_distance: int = 2  # the loss compares block i with block i + exclusion_distance
    exclusion_temperature: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        shape = get_backbone(self.backbone)
        require(self, "backbone", isinstance(shape, Transformer), "a vision transformer like vit_large_patch16_in21k")
        assert isinstance(shape, Transformer)
        rule = "none with tokenizer=tags, whose vocabulary is built from the data"
        require(self, "vocabulary_file", self.tokenizer == "wordpieces" or self.vocabulary_file is None, rule)
        probabilities(self, "mask_warmup", "mask_cooldown")
        at_least_zero(self, "tag_weight", "exclusion_weight")
        above_zero(self, "exclusion_distance", "exclusion_temperature")
        require(self, "text_tokens", self.text_tokens == 0 or self.text_tokens >= 3, "0, or at least 3")
        if self.mask_warmup + self.mask_cooldown > 1:
            both = f"mask_warmup={self.mask_warmup} and mask_cooldown={self.mask_cooldown}"
            raise Error(f"{self.name}: {both} add up to more than 1. Lower one of them.")
        if self.exclusion_weight:
            rule = f"less than {shape.depth}, the number of blocks"
            require(self, "exclusion_distance", self.exclusion_distance < shape.depth, rule)


def _headline(row: str, name: str, **values: Any) -> AnimesionRecipe:
    """Return a headline result of the README: L-16 at 128 px, batches of 16, 50 epochs.

    The learning rate of SGD warms up to 0.001 in 1,000 steps and falls along a cosine.
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
        **dict.fromkeys(JITTERS, 0.1),
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
# 16 tokens of tags, all masked: the README's command for recognition and tagging
VILT = _headline("ViLT L-16 (vision+tags)", "animesion-l16-vilt", text_tokens=16, masking="full")
# the same with the smaller backbone that is the default of the authors' code
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
# the README's command for recognition only: 32 word pieces, none masked
WORDPIECES = dataclasses.replace(
    B16[-1],
    name="animesion-b16-vilt-wordpieces",
    batch_size=64,
    text_tokens=32,
    tokenizer="wordpieces",
    masking="none",
)


# The hand-set baseline of the tiny scale: AdamW trains a small transformer from scratch
HAND_SET_BASELINE = AnimesionRecipe(
    name="animesion-tiny",
    system="animesion",
    **HAND_SET,
    backbone="vit_96x4",
    image_size=48,
    enlarge_px=6,
    pad_px=0,
    batch_size=64,
    head="ifa",
    optimizer="adamw",
    lr=0.001,
    weight_decay=0.05,
    warmup_epochs=1,
)

RECIPES = (L16, IFA, VILT, *B16, WORDPIECES, HAND_SET_BASELINE)
