"""A residual network as a backbone, and the poolings of its last map.

B batch, D feature dimension, C channels, H height, W width.
"""

import torch
from torch import Tensor, nn

from trainables.models.conv import STAGES, count_places
from trainables.models.input_step import InputStep
from trainables.models.model import Features, layers_of, recompute_activations
from trainables.recipes.backbones import get_backbone
from trainables.recipes.recipe import Recipe

SMALLEST = 1e-6  # as in AGW's code: powers of 0 have no gradient


class ConvBackbone(nn.Module):
    """One branch: the pooled last map."""

    num_branches = 1

    def __init__(self, recipe: Recipe, network: nn.Module, pooling: nn.Module) -> None:
        super().__init__()
        self.input_step = InputStep(recipe)
        self.network = network
        self.pooling = pooling
        self.width = get_backbone(recipe.backbone).width
        self.image_size = recipe.size
        if recipe.activation_checkpointing:
            recompute_activations(self.network.get_submodule(stage) for stage in STAGES)

    @property
    def num_tokens(self) -> int:
        """The number of positions of the last map."""
        return count_places(self.network, self.image_size)

    def forward(self, images_BHWC: Tensor, words_BL: Tensor | None = None) -> Features:
        """Return the single branch, B x 1 x D."""
        map_BCHW = self.network.forward_features(self.input_step(images_BHWC))  # type: ignore[operator]
        return {"branches": self.pooling(map_BCHW)[:, None]}

    def layers(self) -> dict[str, int]:
        """Return the layer of each parameter, counted from the input. A stage is one layer."""
        stem = r"^network\.(?:conv1|bn1|layer0)"
        return layers_of(self, stem, [(r"^network\.layer(\d+)", None), (r"^pooling", (4,))])


class GeM(nn.Module):
    """Generalized mean: (mean over positions of x^p)^(1/p), with one learned p that starts at 3.

    Radenovic et al. 2019 (arXiv 1711.02512), eq. 3. Values below 1e-6 are raised to 1e-6.
    """

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor([3.0]))

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Return B x C."""
        powers_BCHW = map_BCHW.float().clamp(min=SMALLEST).pow(self.p)
        return powers_BCHW.mean(dim=(2, 3)).pow(1 / self.p)


class Average(nn.Module):
    """The mean over all positions."""

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Return B x C."""
        return map_BCHW.float().mean(dim=(2, 3))
