"""A model: a backbone that makes features of images, and a head that says which work they are and what to rank by.

They are two modules because a batch may be shared by ranks or cut to pieces: each part of it goes through the backbone
by itself, and the head and the losses see the features of all of it.

B batch, R branches, D width, H W pixels, C channels, L text length, N works.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

Features = dict[str, Tensor]  # batch first; "branches" BRD is there always


@dataclass(frozen=True)
class Outputs:
    """What the losses are made from."""

    logits: list[Tensor]  # of each branch, B x N; cosines where the identity loss has a margin
    features: list[Tensor]  # of each branch, B x D, before batch norm
    extra: Features  # what else the backbone gave


class Backbone(Protocol):
    """What a model's backbone offers beside being a module."""

    width: int  # of a branch's feature
    num_branches: int
    num_tokens: int  # patches of an image, or places of the last map

    def layers(self) -> dict[str, int]:
        """The layer of each of its weights, counted from the images on."""

    def __call__(self, images_BHWC: Tensor, words_BL: Tensor | None = None) -> Features:
        """The features of uint8 images, and of the words beside them where the recipe has text."""


class Head(Protocol):
    """What a model's head offers beside being a module."""

    def __call__(self, features: Features) -> Outputs:
        """What the losses are made from."""

    def embed(self, features: Features) -> Tensor:
        """The test feature, B x D of all branches together, each of length 1."""


class Model(nn.Module):
    """A system of the papers: what is trained, evaluated and kept."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    @property
    def num_features(self) -> int:
        """Width of the test feature."""
        return int(self.backbone.width) * int(self.backbone.num_branches)  # type: ignore[arg-type]

    @property
    def num_tokens(self) -> int:
        """Patches of an image, or places of the last map."""
        return int(self.backbone.num_tokens)  # type: ignore[arg-type]

    def forward(self, images_BHWC: Tensor, words_BL: Tensor | None = None) -> Outputs:
        """Uint8 images in, what the losses are made from out."""
        outputs: Outputs = self.head(self.backbone(images_BHWC, words_BL))
        return outputs

    def embed(self, images_BHWC: Tensor, words_BL: Tensor | None = None) -> Tensor:
        """The test features, B x num_features, of length 1: equal works are near."""
        features_BD: Tensor = self.head.embed(self.backbone(images_BHWC, words_BL))  # type: ignore[operator]
        return features_BD

    def classify(self, images_BHWC: Tensor, words_BL: Tensor | None = None) -> Tensor:
        """The logits of the works that were trained on, B x N, by the first branch."""
        return self(images_BHWC, words_BL).logits[0]  # type: ignore[no-any-return]
