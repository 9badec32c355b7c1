"""Animesion's transformer: it classifies from the last class token or from those of all blocks, optionally with tags.

B batch, T tokens, D feature dimension, L text length, K blocks, V words.
"""

import torch
from torch import Tensor, nn

from trainables.models.head import BranchHead
from trainables.models.initial import init_vit_as_animesion
from trainables.models.input_step import InputStep
from trainables.models.model import Features, Model, layers_of, recompute_activations
from trainables.models.text import TagDecoder, WordEmbedding
from trainables.models.vit import build_vit
from trainables.recipes.animesion import AnimesionRecipe
from trainables.recipes.backbones import Transformer, get_backbone
from trainables.recipes.dafre import DAFreRecipe

NORM_EPS_V1, NORM_EPS_V2 = 1e-6, 1e-12  # DAF:re's transformer, Animesion's


def build_animesion(recipe: AnimesionRecipe, num_works: int, num_words: int = 0) -> Model:
    """Build the model of Rios et al. 2022.

    The classifier starts at 0 if it follows the transformer's final norm. With IFA or masked tags there is a separate
    head, whose layers start at torch's default.
    """
    backbone = AnimesionBackbone(recipe, num_words)
    own_head = recipe.head == "ifa" or backbone.decoder is not None
    initialize = None if own_head else nn.init.zeros_
    head = BranchHead(recipe, backbone.width, 1, num_works, neck=False, bias=True, initialize=initialize)
    return Model(backbone, head)


class AnimesionBackbone(nn.Module):
    """A vision transformer over an image's patches and, optionally, the words of its tags.

    DAF:re's (version 1) applies dropout to attention probabilities and to both outputs of a block, Animesion's (version
    2) only to the outputs.

    Args:
        recipe: an AnimesionRecipe, or a plain DAFreRecipe for version 1.
        num_words: size of the vocabulary; 0: no tags are read.
    """

    num_branches = 1

    def __init__(self, recipe: DAFreRecipe, num_words: int) -> None:
        super().__init__()
        shape = get_backbone(recipe.backbone)
        assert isinstance(shape, Transformer)  # the recipe has checked it
        is_v2 = isinstance(recipe, AnimesionRecipe)
        vit = build_vit(
            recipe,
            init_vit_as_animesion,
            shape.patch_px,
            corner_aligned=True,
            norm_eps=NORM_EPS_V2 if is_v2 else NORM_EPS_V1,
            proj_drop_rate=recipe.dropout,
            attn_drop_rate=0.0 if is_v2 else recipe.dropout,
        )
        assert vit.cls_token is not None
        assert vit.pos_embed is not None
        self.input_step = InputStep(recipe)
        self.patch_embed = vit.patch_embed
        self.cls_token, self.pos_embed = vit.cls_token, vit.pos_embed
        self.blocks = vit.blocks
        is_ifa = isinstance(recipe, AnimesionRecipe) and recipe.head == "ifa"
        self.aggregation = IntermediateFeatures(shape) if is_ifa else None
        self.norm = None if is_ifa else vit.norm
        self.words: WordEmbedding | None = None
        self.decoder: TagDecoder | None = None
        if num_words:
            assert isinstance(recipe, AnimesionRecipe)  # version 1 reads no tags
            self.words = WordEmbedding(num_words, recipe.text_tokens, shape.width, recipe.dropout)
            guesses = recipe.masking != "none" and recipe.tag_weight > 0
            self.decoder = TagDecoder(num_words, shape.width) if guesses else None
        if self.norm is not None and self.decoder is not None:
            # masked tags have a separate head, whose norm is not pretrained
            self.norm = nn.LayerNorm(shape.width, eps=NORM_EPS_V2)
        self.tells_blocks = isinstance(recipe, AnimesionRecipe) and recipe.exclusion_weight > 0
        self.width, self.num_tokens = shape.width, vit.patch_embed.num_patches
        if recipe.activation_checkpointing:
            recompute_activations(self.blocks)

    def forward(self, images_BHWC: Tensor, words_BL: Tensor | None = None) -> Features:
        """Return the branch, the words' logits if there are words, and the class tokens of all blocks if requested."""
        patches_BTD = self.patch_embed(self.input_step(images_BHWC))
        cls_BTD = self.cls_token.expand(patches_BTD.shape[0], -1, -1)
        tokens_BTD = torch.cat([cls_BTD, patches_BTD], dim=1) + self.pos_embed
        if self.words is not None:
            tokens_BTD = torch.cat([tokens_BTD, self.words(words_BL)], dim=1)
        class_tokens = []
        for block in self.blocks:
            tokens_BTD = block(tokens_BTD)
            class_tokens.append(tokens_BTD[:, 0])
        class_tokens_BKD = torch.stack(class_tokens, dim=1)
        # only the class token is normalized: the tag head reads the raw output of the last block
        if self.aggregation is not None:
            branch_BD = self.aggregation(class_tokens_BKD)
        else:
            assert self.norm is not None  # there is either aggregation or norm
            branch_BD = self.norm(tokens_BTD[:, 0])
        features = {"branches": branch_BD[:, None]}
        if self.words is not None and self.decoder is not None and words_BL is not None:
            read_BLD = tokens_BTD[:, -words_BL.shape[1] :]
            features["word_logits"] = self.decoder(read_BLD, self.words.words.weight)
        if self.tells_blocks:
            features["class_tokens"] = class_tokens_BKD
        return features

    def layers(self) -> dict[str, int]:
        stem = r"^(?:cls_token|pos_embed|patch_embed|words)"
        return layers_of(self, stem, [(r"^blocks\.(\d+)", None), (r"^(?:norm|aggregation|decoder)", (9999,))])


class IntermediateFeatures(nn.Module):
    """IFA: a weighted sum of the class tokens of all blocks (before the final norm), then ReLU and norm.

    It replaces the final norm. It has one weight per block and a bias.
    """

    def __init__(self, shape: Transformer) -> None:
        super().__init__()
        self.mix = nn.Linear(shape.depth, 1)
        self.norm = nn.LayerNorm(shape.width, eps=NORM_EPS_V2)

    def forward(self, class_tokens_BKD: Tensor) -> Tensor:
        """Return B x D."""
        mixed_BD = self.mix(class_tokens_BKD.transpose(1, 2))[..., 0]
        normed_BD: Tensor = self.norm(mixed_BD.relu())
        return normed_BD
