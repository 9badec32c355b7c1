"""Animesion's transformer: the class token of the last block or those of all blocks, with tags beside the image.

B batch, T tokens, D width, L text length, K blocks, V words.
"""

from typing import Any

import torch
from timm.models import group_parameters
from torch import Tensor, nn

from trainables.models.checkpointing import remake_activations
from trainables.models.head import BranchHead
from trainables.models.initial import init_as_animesion
from trainables.models.input_step import InputStep
from trainables.models.model import Features, Model
from trainables.models.text import TagDecoder, WordEmbedding
from trainables.models.vit import ViTSettings, build_vit
from trainables.recipes.animesion import AnimesionRecipe
from trainables.recipes.backbones import Transformer, get_backbone
from trainables.recipes.dafre import DAFreRecipe

NORM_EPS = 1e-12


def build_animesion(recipe: AnimesionRecipe, num_works: int, num_words: int = 0) -> Model:
    """Rios et al. 2022; the classifier begins at 0."""
    backbone = AnimesionBackbone(recipe, num_words)
    return Model(backbone, BranchHead(recipe, backbone.width, 1, num_works, neck=False, bias=True, draw=nn.init.zeros_))


class AnimesionBackbone(nn.Module):
    """A vision transformer over an image's patches and, on request, the words of its tags.

    Args:
        num_words: of the vocabulary; 0: no tags are read.
    """

    num_branches = 1

    def __init__(self, recipe: DAFreRecipe, num_words: int) -> None:
        super().__init__()
        shape = get_backbone(recipe.backbone)
        assert isinstance(shape, Transformer)  # the recipe has checked it
        vit = build_vit(
            ViTSettings(
                backbone=recipe.backbone,
                pretrained=recipe.pretrained,
                weights_file=recipe.weights_file,
                image_size=recipe.image_size,
                stride_px=shape.patch_px,
                dropout=recipe.dropout,
                norm_eps=NORM_EPS,
                corner_aligned=True,
            )
        )
        if not recipe.pretrained:
            init_as_animesion(vit)
        assert vit.cls_token is not None
        assert vit.pos_embed is not None
        self.input_step = InputStep(recipe)
        self.patch_embed, self.pos_drop = vit.patch_embed, vit.pos_drop
        self.cls_token, self.pos_embed = vit.cls_token, vit.pos_embed
        self.blocks = vit.blocks
        is_ifa = isinstance(recipe, AnimesionRecipe) and recipe.head == "ifa"
        self.aggregation = IntermediateFeatures(shape) if is_ifa else None
        self.norm = None if is_ifa and not num_words else vit.norm
        self.words = WordEmbedding(num_words, shape.width, recipe.dropout) if num_words else None
        guesses = isinstance(recipe, AnimesionRecipe) and recipe.tag_weight > 0
        self.decoder = TagDecoder(num_words, shape.width) if num_words and guesses else None
        self.tells_blocks = isinstance(recipe, AnimesionRecipe) and recipe.exclusion_weight > 0
        self.width, self.num_tokens = shape.width, vit.patch_embed.num_patches
        if recipe.checkpointing:
            remake_activations(self.blocks)

    def forward(self, images_BHWC: Tensor, words_BL: Tensor | None = None) -> Features:
        """The branch, the words' logits where there are words, and the class tokens of all blocks where asked for."""
        patches_BTD = self.patch_embed(self.input_step(images_BHWC))
        cls_BTD = self.cls_token.expand(len(patches_BTD), -1, -1)
        tokens_BTD = self.pos_drop(torch.cat([cls_BTD, patches_BTD], dim=1) + self.pos_embed)
        if self.words is not None:
            tokens_BTD = torch.cat([tokens_BTD, self.words(words_BL)], dim=1)
        class_tokens = []
        for block in self.blocks:
            tokens_BTD = block(tokens_BTD)
            class_tokens.append(tokens_BTD[:, 0])
        class_tokens_BKD = torch.stack(class_tokens, dim=1)
        normed_BTD = self.norm(tokens_BTD) if self.norm is not None else tokens_BTD
        branch_BD = normed_BTD[:, 0] if self.aggregation is None else self.aggregation(class_tokens_BKD)
        features = {"branches": branch_BD[:, None]}
        if self.words is not None and self.decoder is not None and words_BL is not None:
            read_BLD = normed_BTD[:, -words_BL.shape[1] :]
            features["word_logits"] = self.decoder(read_BLD, self.words.words.weight)
        if self.tells_blocks:
            features["class_tokens"] = class_tokens_BKD
        return features

    def layers(self) -> dict[str, int]:
        """The layer of each of its weights, counted from the images on."""
        matcher: dict[str, Any] = {
            "stem": r"^(?:cls_token|pos_embed|patch_embed|words)",
            "blocks": [(r"^blocks\.(\d+)", None), (r"^(?:norm|aggregation|decoder)", (9999,))],
        }
        layers: dict[str, int] = group_parameters(self, matcher, reverse=True)
        return layers


class IntermediateFeatures(nn.Module):
    """IFA: the class tokens of all blocks, before the final norm, mixed by one weight per block; ReLU, norm.

    It takes the place of the final norm: as many weights as blocks, and a bias.
    """

    def __init__(self, shape: Transformer) -> None:
        super().__init__()
        self.mix = nn.Linear(shape.depth, 1)
        self.norm = nn.LayerNorm(shape.width, eps=NORM_EPS)

    def forward(self, class_tokens_BKD: Tensor) -> Tensor:
        """B x D."""
        mixed_BD = self.mix(class_tokens_BKD.transpose(1, 2))[..., 0]
        normed_BD: Tensor = self.norm(mixed_BD.relu())
        return normed_BD
