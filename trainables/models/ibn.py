"""IBN-a: half of the channels are normalized per image, which removes style, and half per batch.

B batch, C channels, H height, W width.
"""

import torch
from torch import Tensor, nn


class InstanceBatchNorm(nn.Module):
    """Instance norm for the first half of the channels (rounded down) and batch norm for the rest.

    Pan et al. 2018 (arXiv 1807.09441), IBN-a.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.num_instance = channels // 2
        self.IN = nn.InstanceNorm2d(self.num_instance, affine=True)  # named as in the authors' weights
        self.BN = nn.BatchNorm2d(channels - self.num_instance)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Return a map of the same shape."""
        first_BCHW, rest_BCHW = map_BCHW[:, : self.num_instance], map_BCHW[:, self.num_instance :]
        return torch.cat([self.IN(first_BCHW), self.BN(rest_BCHW)], dim=1)


def set_ibn(network: nn.Module) -> None:
    """Replace the first norm of every block in the first three stages of timm's ResNet by InstanceBatchNorm."""
    for stage in ("layer1", "layer2", "layer3"):
        for block in network.get_submodule(stage).children():
            assert isinstance(block.bn1, nn.BatchNorm2d)
            block.bn1 = InstanceBatchNorm(block.bn1.num_features)
