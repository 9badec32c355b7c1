"""A restatement of TransReID (He et al. 2021, arXiv 2102.04378) in plain torch, from the paper and its running program.

It shares no code with `trainables`. B batch, T tokens, D width.
"""

import copy
import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

STD = 0.02  # of linear layers, the class token and the positions


class Block(nn.Module):
    """Attention and an MLP, each behind a norm; a whole image's part is dropped now and then (drop path)."""

    def __init__(
        self, width: int, heads: int, mlp_ratio: float, qkv_bias: bool, scale: float, drop_path: float
    ) -> None:
        super().__init__()
        self.heads, self.scale, self.drop_path = heads, scale, drop_path
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=qkv_bias), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, int(mlp_ratio * width)), nn.Linear(int(mlp_ratio * width), width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.qkv(self.norm1(x_BTD)).chunk(3, dim=2)
        )
        attended = (torch.softmax(q @ k.mT * self.scale, dim=-1) @ v).transpose(1, 2).flatten(2)
        x_BTD = x_BTD + self._kept(self.out(attended))
        return x_BTD + self._kept(self.fc2(functional.gelu(self.fc1(self.norm2(x_BTD)))))

    def _kept(self, x_BTD: Tensor) -> Tensor:
        if not self.training or not self.drop_path:
            return x_BTD
        kept = (torch.rand(len(x_BTD), 1, 1, dtype=x_BTD.dtype) >= self.drop_path).to(x_BTD.dtype)
        return x_BTD / (1 - self.drop_path) * kept


class TransReIDNetwork(nn.Module):
    """The backbone, the branches, a neck and a classifier for each; without upstream's dead third last block."""

    def __init__(
        self, *, width: int, depth: int, heads: int, patch: int, image_size: int, stride: int, classes: int,
        mlp_ratio: float = 4.0, qkv_bias: bool = True, scale: float | None = None, drop_path: float = 0.1,
        jpm: bool = False, shift: int = 5, groups: int = 2, parts: int = 4,
    ) -> None:  # fmt: skip
        super().__init__()
        grid = (image_size - patch) // stride + 1
        self.patch = nn.Conv2d(3, width, patch, stride)
        self.cls = nn.Parameter(torch.empty(1, 1, width))
        self.pos = nn.Parameter(torch.empty(1, grid**2 + 1, width))
        block = partial(Block, width, heads, mlp_ratio, qkv_bias, scale or (width // heads) ** -0.5)
        blocks = [block(drop_path * number / (depth - 1)) for number in range(depth)]
        self.trunk = nn.Sequential(*blocks[:-1])
        self.last, self.norm = blocks[-1], nn.LayerNorm(width, 1e-6)
        for weight in (self.cls, self.pos):
            nn.init.trunc_normal_(weight, std=STD)
        for linear in [part for part in self.modules() if isinstance(part, nn.Linear)]:
            nn.init.trunc_normal_(linear.weight, std=STD)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)
        nn.init.normal_(self.patch.weight, std=math.sqrt(2 / (patch * patch * width)))
        self.local = copy.deepcopy(nn.Sequential(self.last, self.norm)) if jpm else None
        self.shift, self.groups, self.parts = shift, groups, parts
        branches = 1 + parts * jpm
        self.necks = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(branches))
        self.classifiers = nn.ModuleList(nn.Linear(width, classes, bias=False) for _ in range(branches))
        for neck, classifier in zip(self.necks, self.classifiers, strict=True):
            neck.bias.requires_grad_(False)
            nn.init.normal_(classifier.weight, std=0.001)

    def forward(self, images: Tensor) -> dict[str, list[Tensor]]:
        """The logits of each branch, from its feature behind the neck, and the features before it."""
        patches_BTD = self.patch(images).flatten(2).transpose(1, 2)
        x_BTD = self.trunk(torch.cat([self.cls.expand(len(images), -1, -1), patches_BTD], dim=1) + self.pos)
        features = [self.norm(self.last(x_BTD))[:, 0]]
        if self.local is not None:
            length = (x_BTD.shape[1] - 1) // self.parts
            for part in self._shuffled(x_BTD).split(length, dim=1)[: self.parts]:
                features.append(self.local(torch.cat([x_BTD[:, :1], part], dim=1))[:, 0])
        necked = [neck(feature) for neck, feature in zip(self.necks, features, strict=True)]
        logits = [classifier(feature) for classifier, feature in zip(self.classifiers, necked, strict=True)]
        return {"logits": logits, "features": features}

    def _shuffled(self, x_BTD: Tensor) -> Tensor:
        """Patches shift - 1 places on in a ring, then dealt out from the groups in turn; an odd one out is doubled."""
        patches = x_BTD[:, 1:].roll(1 - self.shift, dims=1)
        if patches.shape[1] % self.groups:
            patches = torch.cat([patches, patches[:, -2:-1]], dim=1)
        return torch.stack(patches.chunk(self.groups, dim=1), dim=2).flatten(1, 2)


def jpm_feature(features: list[Tensor]) -> Tensor:
    """The global feature and the local ones over their number, side by side, as one vector of length 1."""
    parts = [features[0], *(feature / (len(features) - 1) for feature in features[1:])]
    return functional.normalize(torch.cat(parts, dim=1), dim=1)
