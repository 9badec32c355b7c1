"""DAF:re's shallow network: two convolutions and two linear layers, the second of which is the classifier.

B batch, D feature dimension, C channels, H height, W width.
"""

import math

from torch import Tensor, nn

from trainables.models.input_step import InputStep
from trainables.models.model import Features, layers_of
from trainables.recipes.backbones import Shallow
from trainables.recipes.recipe import Recipe

KERNEL = 5
DROPOUT = 0.2


class ShallowBackbone(nn.Module):
    """Convolution, batch norm, ReLU and pooling, twice; then a linear layer, ReLU and dropout.

    The size of the linear layer depends on the image size.
    """

    num_branches = 1

    def __init__(self, recipe: Recipe, shape: Shallow) -> None:
        super().__init__()
        first, second = shape.channels
        num_places = math.prod(_halved(_halved(side)) for side in recipe.size)
        self.input_step = InputStep(recipe)
        self.convolutions = nn.Sequential(_stage(3, first), _stage(first, second))
        self.linear = nn.Sequential(nn.Linear(second * num_places, shape.width), nn.ReLU(), nn.Dropout(DROPOUT))
        self.width = shape.width
        self.num_tokens = num_places

    def forward(self, images_BHWC: Tensor, words_BL: Tensor | None = None) -> Features:
        """Return the single branch, B x 1 x D."""
        map_BCHW = self.convolutions(self.input_step(images_BHWC))
        return {"branches": self.linear(map_BCHW.flatten(1))[:, None]}

    def layers(self) -> dict[str, int]:
        return layers_of(self, r"^convolutions\.0", r"^(?:convolutions\.1|linear)")


def _stage(channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, KERNEL), nn.BatchNorm2d(out_channels), nn.ReLU(), nn.MaxPool2d(2)
    )


def _halved(size: int) -> int:
    return (size - KERNEL + 1) // 2
