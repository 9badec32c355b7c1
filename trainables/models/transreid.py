"""TransReID: a transformer's class token as global feature and, with JPM, four local ones over shuffled patches.

B batch, T tokens, D feature dimension, R branches.
"""

import copy

import torch
from torch import Tensor, nn

from trainables.models.branch import ClassTokenBranch
from trainables.models.head import BranchHead
from trainables.models.initial import init_vit_as_transreid
from trainables.models.input_step import InputStep
from trainables.models.model import Features, Model, layers_of, recompute_activations
from trainables.models.vit import build_vit
from trainables.recipes.backbones import get_backbone
from trainables.recipes.transreid import TransReIDRecipe

SIDE_STD = 0.02  # initial side information embeddings
GRAY_SPREAD = 4.0  # of 255, between an image's channels: more than JPEG noise, less than any color


def build_transreid(recipe: TransReIDRecipe, num_works: int, num_words: int = 0) -> Model:
    """Build the model of He et al. 2021 (arXiv 2102.04378) from timm's blocks."""
    backbone = TransReIDBackbone(recipe)
    head = BranchHead(recipe, backbone.width, backbone.num_branches, num_works, neck_feature=recipe.neck_feature)
    return Model(backbone, head)


class TransReIDBackbone(nn.Module):
    """All blocks but the last are shared; each branch has its own last block and final norm.

    The local branches share theirs, a copy of the global branch's. Upstream keeps a third copy and ImageNet's
    classifier as unused weights; here every weight is trained.
    """

    def __init__(self, recipe: TransReIDRecipe) -> None:
        super().__init__()
        vit = build_vit(recipe, init_vit_as_transreid, recipe.stride_px, drop_path_rate=recipe.drop_path)
        self.input_step = InputStep(recipe)
        self.patch_embed = vit.patch_embed
        assert vit.cls_token is not None
        assert vit.pos_embed is not None  # timm's type is optional
        self.cls_token = vit.cls_token
        self.pos_embed = vit.pos_embed
        self.side_information = SideInformation(recipe) if recipe.sie_weight else None
        self.trunk = vit.blocks[:-1]
        self.global_branch = ClassTokenBranch(vit.blocks[-1], vit.norm)
        # one copy, shared by the local branches
        self.local_branch = copy.deepcopy(self.global_branch) if recipe.jpm else None
        self.shift, self.groups, self.parts = recipe.jpm_shift, recipe.jpm_groups, recipe.jpm_parts
        self.width = get_backbone(recipe.backbone).width
        self.num_branches = 1 + (recipe.jpm_parts if recipe.jpm else 0)
        self.num_tokens = recipe.num_patches
        if recipe.activation_checkpointing:
            recompute_activations(self.trunk)

    def forward(self, images_BHWC: Tensor, words_BL: Tensor | None = None) -> Features:
        """Return the class token of each branch, the global one first."""
        patches_BTD = self.patch_embed(self.input_step(images_BHWC))
        cls_BTD = self.cls_token.expand(patches_BTD.shape[0], -1, -1)
        tokens_BTD = torch.cat([cls_BTD, patches_BTD], dim=1) + self.pos_embed
        if self.side_information is not None:
            tokens_BTD = tokens_BTD + self.side_information(in_gray(images_BHWC).long())
        tokens_BTD = self.trunk(tokens_BTD)
        branches = [self.global_branch(tokens_BTD)]
        if self.local_branch is not None:
            branches += self._local_features(tokens_BTD)
        return {"branches": torch.stack(branches, dim=1)}

    def layers(self) -> dict[str, int]:
        stem = r"^(?:cls_token|pos_embed|patch_embed|side_information)"
        return layers_of(self, stem, [(r"^trunk\.(\d+)", None), (r"^(?:global|local)_branch", (9999,))])

    def _local_features(self, tokens_BTD: Tensor) -> list[Tensor]:
        assert self.local_branch is not None
        shuffled_BTD = shuffle_patches(tokens_BTD, self.shift, self.groups)
        length = (tokens_BTD.shape[1] - 1) // self.parts  # drops patches beyond parts x length, as upstream does
        cls_BTD = tokens_BTD[:, :1]
        starts = range(0, self.parts * length, length)
        parts = [torch.cat([cls_BTD, shuffled_BTD[:, start : start + length]], dim=1) for start in starts]
        # the parts pass through their shared block as one batch
        return list(self.local_branch(torch.cat(parts)).view(self.parts, tokens_BTD.shape[0], -1).unbind())


class SideInformation(nn.Module):
    """SIE (TransReID, section 3.3): an embedding of the source of an image, added to every token.

    In the paper the source is the camera. Drawings have none; here it is color or black and white.
    """

    def __init__(self, recipe: TransReIDRecipe) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(2, get_backbone(recipe.backbone).width))
        nn.init.trunc_normal_(self.embedding, std=SIDE_STD)
        self.weight = recipe.sie_weight

    def forward(self, sides_B: Tensor) -> Tensor:
        """Return B x 1 x D for side numbers."""
        return self.weight * self.embedding[sides_B, None]


def in_gray(images_BHWC: Tensor) -> Tensor:
    """Return whether each uint8 image has no color, B bools: its channels hardly differ."""
    spread_BHW = images_BHWC.amax(dim=3) - images_BHWC.amin(dim=3)
    return spread_BHW.flatten(1).float().mean(dim=1) < GRAY_SPREAD


def shuffle_patches(tokens_BTD: Tensor, shift: int, groups: int) -> Tensor:
    """Shift and shuffle the patch tokens (TransReID, section 3.2) and drop the leading class token.

    The first shift - 1 patches move to the end. Then the tokens are cut into `groups` equal chunks, and one token of
    each chunk is taken in turn. If their number is not a multiple of `groups`, the second to last token is repeated
    first, as upstream does.
    """
    shifted_BTD = torch.cat([tokens_BTD[:, shift:], tokens_BTD[:, 1:shift]], dim=1)
    if shifted_BTD.shape[1] % groups:
        shifted_BTD = torch.cat([shifted_BTD, shifted_BTD[:, -2:-1]], dim=1)
    batch, _, width = shifted_BTD.shape
    return shifted_BTD.view(batch, groups, -1, width).transpose(1, 2).reshape(batch, -1, width)
