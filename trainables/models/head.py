"""The head of every system: one classifier per branch, and the test feature.

B batch, R branches, D feature dimension, N works, K sub-centers.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainables.losses.registry import ID_LOSSES
from trainables.models.model import Features, Outputs
from trainables.recipes.recipe import Recipe


def init_small(weight: Tensor) -> None:
    """Initialize a classifier as in re-identification: a normal with a standard deviation of 0.001."""
    nn.init.normal_(weight, std=0.001)


class BranchHead(nn.Module):
    """One classifier per branch, with or without a neck.

    A neck (BNNeck, Luo et al. 2019, arXiv 1903.07071) is a batch norm between feature and classifier whose bias stays
    0.

    Args:
        neck: whether there is a neck.
        neck_feature: "before" or "after": where the test feature is taken relative to the neck.
        bias: whether the classifiers have a bias.
        initialize: initializes the weights of the classifiers, with biases of 0; None: torch's default for both.
    """

    def __init__(
        self,
        recipe: Recipe,
        width: int,
        num_branches: int,
        num_works: int,
        *,
        neck: bool = True,
        neck_feature: str = "before",
        bias: bool = False,
        initialize: Callable[[Tensor], Any] | None = init_small,
    ) -> None:
        super().__init__()
        self.necks = nn.ModuleList(_neck(width) if neck else nn.Identity() for _ in range(num_branches))
        self.classifiers = nn.ModuleList(
            _classifier(recipe, width, num_works, bias, initialize) for _ in range(num_branches)
        )
        self.after_neck = neck_feature == "after"

    def forward(self, features: Features) -> Outputs:
        """Return the logits and features of each branch, the global one first."""
        branches = list(features["branches"].float().unbind(1))
        necked = [neck(feature_BD) for neck, feature_BD in zip(self.necks, branches, strict=True)]
        logits = [classifier(feature_BD) for classifier, feature_BD in zip(self.classifiers, necked, strict=True)]
        return Outputs(logits, branches, {name: value for name, value in features.items() if name != "branches"})

    def embed(self, features: Features) -> Tensor:
        """Return all branches as one unit vector; local branches are divided by their number, as in TransReID."""
        branches = list(features["branches"].float().unbind(1))
        if self.after_neck:
            branches = [neck(feature_BD) for neck, feature_BD in zip(self.necks, branches, strict=True)]
        num_local = len(branches) - 1
        weighted = [branches[0], *(feature_BD / num_local for feature_BD in branches[1:])]
        return functional.normalize(torch.cat(weighted, dim=1), dim=1)


class CosineClassifier(nn.Module):
    """The cosine between a feature and the nearest sub-center of each work; K = 1 is ArcFace's classifier.

    Deng et al. 2020, Sub-center ArcFace (ECCV), section 3.2.
    """

    def __init__(self, width: int, num_works: int, sub_centers: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_works, sub_centers, width))
        nn.init.xavier_uniform_(self.weight.view(num_works * sub_centers, width))

    def forward(self, features_BD: Tensor) -> Tensor:
        """Return cosines, B x N."""
        num_works, sub_centers, width = self.weight.shape
        centers = functional.normalize(self.weight.view(-1, width), dim=1)
        cosines = functional.normalize(features_BD, dim=1) @ centers.T
        return cosines.view(features_BD.shape[0], num_works, sub_centers).amax(dim=2)


def _neck(width: int) -> nn.BatchNorm1d:
    neck = nn.BatchNorm1d(width)
    neck.bias.requires_grad_(False)
    return neck


def _classifier(
    recipe: Recipe, width: int, num_works: int, bias: bool, initialize: Callable[[Tensor], Any] | None
) -> nn.Module:
    if ID_LOSSES.find(recipe.id_loss).cosine:
        return CosineClassifier(width, num_works, recipe.sub_centers)
    classifier = nn.Linear(width, num_works, bias=bias)
    if initialize is not None:
        initialize(classifier.weight)
        if bias:
            nn.init.zeros_(classifier.bias)
    return classifier
