"""A model: a backbone that computes features of images, and a head that classifies and embeds them.

They are separate modules because a batch may be sharded across ranks or split into micro-batches: each part passes
through the backbone alone, and the head and the losses see the features of the whole batch.

B batch, R branches, D feature dimension, H height, W width, C channels, L text length, N works.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from timm.models import group_parameters
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from trainables.models.positions import Grid, patch_grid

Features = dict[str, Tensor]  # batch first; always has "branches", B x R x D


@dataclass(frozen=True)
class Outputs:
    """The inputs of the losses."""

    logits: list[Tensor]  # of each branch, B x N; cosines if the identity loss has a margin
    features: list[Tensor]  # of each branch, B x D, before batch norm
    extra: Features  # other outputs of the backbone


class Model(nn.Module):
    """A system of the papers, which is trained, evaluated and saved.

    Args:
        backbone: maps uint8 images, and their words if the recipe has text, to `Features`. It has `width` (the feature
            dimension of a branch), `num_branches`, `num_tokens` and `layers()` (the layer of each parameter).
        head: maps `Features` to `Outputs`, and with `embed` to the test feature.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    @property
    def num_features(self) -> int:
        """Dimension of the test feature."""
        return int(self.backbone.width) * int(self.backbone.num_branches)  # type: ignore[arg-type]

    @property
    def num_tokens(self) -> int:
        """Patches of an image, or positions of the last map."""
        return int(self.backbone.num_tokens)  # type: ignore[arg-type]

    @property
    def patch_grid(self) -> Grid | None:
        """Rows and columns of patches; None if the network has no patches."""
        return patch_grid(getattr(self.backbone, "network", self.backbone))

    def forward(self, images_BHWC: Tensor, words_BL: Tensor | None = None) -> Outputs:
        """Return the inputs of the losses for uint8 images."""
        outputs: Outputs = self.head(self.backbone(images_BHWC, words_BL))
        return outputs

    def embed(self, images_BHWC: Tensor, words_BL: Tensor | None = None) -> Tensor:
        """Return the test features, B x num_features, as unit vectors: images of one work are near each other."""
        features_BD: Tensor = self.head.embed(self.backbone(images_BHWC, words_BL))  # type: ignore[operator]
        return features_BD

    def embed_and_classify(self, images_BHWC: Tensor, words_BL: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return what `embed` and `classify` return, from one pass through the backbone."""
        features = self.backbone(images_BHWC, words_BL)
        return self.head.embed(features), self.head(features).logits[0]  # type: ignore[operator]

    def classify(self, images_BHWC: Tensor, words_BL: Tensor | None = None) -> Tensor:
        """Return the logits of the trained works, B x N, by the first branch."""
        return self(images_BHWC, words_BL).logits[0]  # type: ignore[no-any-return]


def recompute_activations(modules: Iterable[nn.Module]) -> None:
    """Make each module keep only its inputs in training and recompute its activations in the backward pass.

    The numbers do not change: less memory for a third more time.
    """
    for module in modules:
        module.forward = partial(_recomputed, module, module.forward)


def _recomputed(module: nn.Module, forward: Callable[..., Any], *args: Any) -> Any:
    if torch.compiler.is_compiling():  # the compiler updates running statistics once, whatever it computes again
        return checkpoint(forward, *args, use_reentrant=False)
    return checkpoint(forward, *args, use_reentrant=False, context_fn=partial(_contexts, module))


def _contexts(module: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _kept_statistics(module)


@contextmanager
def _kept_statistics(module: nn.Module) -> Iterator[None]:
    """Keep batch norms from counting the batch again during recomputation."""
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()  # counted, and dropped below
    try:
        yield
    finally:
        for norm, (momentum, counted) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, counted


def layers_of(backbone: nn.Module, stem: str, blocks: Any) -> dict[str, int]:
    """Return the layer of each parameter of a backbone, counted from the input.

    Args:
        stem: a regular expression that matches the names of the first layer's parameters.
        blocks: regular expressions for the other layers, as timm's `group_parameters` reads them.
    """
    layers: dict[str, int] = group_parameters(backbone, {"stem": stem, "blocks": blocks}, reverse=True)
    return layers
