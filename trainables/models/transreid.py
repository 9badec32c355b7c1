"""TransReID: a transformer's class token as global feature and, with JPM, four local ones over shuffled patches.

B batch, T tokens, D width, N works.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.models.bnneck import BNNeck
from trainables.models.branch import ClassTokenBranch
from trainables.models.input_step import InputStep
from trainables.models.vit import build_vit
from trainables.recipes.backbones import get_backbone
from trainables.recipes.transreid import TransReIDRecipe


class TransReID(nn.Module):
    """He et al. 2021 (arXiv 2102.04378), from timm's blocks.

    All blocks but the last are shared. The global branch goes on with the last block and the final norm, the local ones
    with a copy of both. Upstream keeps a third one and ImageNet's classifier as dead weights; here all there is trains.
    """

    def __init__(self, recipe: TransReIDRecipe, num_works: int) -> None:
        super().__init__()
        vit = build_vit(recipe)
        self.input_step = InputStep(recipe)
        self.patch_embed = vit.patch_embed
        assert vit.cls_token is not None
        assert vit.pos_embed is not None  # as timm's settings allow
        self.cls_token = vit.cls_token
        self.pos_embed = vit.pos_embed
        self.trunk = vit.blocks[:-1]
        self.global_branch = ClassTokenBranch(vit.blocks[-1], vit.norm)
        # one copy, shared by the local branches
        self.local_branch = copy.deepcopy(self.global_branch) if recipe.jpm else None
        self.shift, self.groups, self.parts = recipe.jpm_shift, recipe.jpm_groups, recipe.jpm_parts
        width = get_backbone(recipe.backbone).width
        num_branches = 1 + (recipe.jpm_parts if recipe.jpm else 0)
        self.necks = nn.ModuleList(BNNeck(width, num_works) for _ in range(num_branches))
        self.num_features = width * num_branches
        self.num_tokens = recipe.num_patches

    def forward(self, images_BHWC: Tensor) -> Tensor | dict[str, list[Tensor]]:
        """The test feature; in training mode each branch's logits and feature before batch norm, the global first.

        The test feature is the papers': the branches before batch norm, the local ones divided by their number, as one
        vector of length 1.
        """
        features = self.branch_features(images_BHWC)
        if self.training:
            logits = [neck(feature) for neck, feature in zip(self.necks, features, strict=True)]
            return {"logits": logits, "features": features}
        weighted = [features[0], *(feature / self.parts for feature in features[1:])]
        return functional.normalize(torch.cat(weighted, dim=1), dim=1)

    def branch_features(self, images_BHWC: Tensor) -> list[Tensor]:
        """The class token of each branch, the global one first, B x D each."""
        patches_BTD = self.patch_embed(self.input_step(images_BHWC))
        cls_BTD = self.cls_token.expand(len(patches_BTD), -1, -1)
        tokens_BTD = self.trunk(torch.cat([cls_BTD, patches_BTD], dim=1) + self.pos_embed)
        features = [self.global_branch(tokens_BTD)]
        if self.local_branch is not None:
            features += self._local_features(tokens_BTD)
        return features

    def _local_features(self, tokens_BTD: Tensor) -> list[Tensor]:
        assert self.local_branch is not None
        shuffled_BTD = shuffle_patches(tokens_BTD, self.shift, self.groups)
        length = (tokens_BTD.shape[1] - 1) // self.parts  # patches beyond parts x length are left out, as upstream
        cls_BTD = tokens_BTD[:, :1]
        starts = range(0, self.parts * length, length)
        parts = [torch.cat([cls_BTD, shuffled_BTD[:, start : start + length]], dim=1) for start in starts]
        # the parts go through their shared block as one batch
        return list(self.local_branch(torch.cat(parts)).chunk(self.parts))


def shuffle_patches(tokens_BTD: Tensor, shift: int, groups: int) -> Tensor:
    """The patch tokens shifted and shuffled (TransReID, section 3.2); the class token at the front is left out.

    The first shift - 1 patches move to the end, then the groups are dealt out in turn. Where the groups do not come out
    even, the token before the last is doubled first, as upstream does.
    """
    shifted_BTD = torch.cat([tokens_BTD[:, shift:], tokens_BTD[:, 1:shift]], dim=1)
    if shifted_BTD.shape[1] % groups:
        shifted_BTD = torch.cat([shifted_BTD, shifted_BTD[:, -2:-1]], dim=1)
    batch, _, width = shifted_BTD.shape
    return shifted_BTD.view(batch, groups, -1, width).transpose(1, 2).reshape(batch, -1, width)
