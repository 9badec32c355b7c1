"""The non-local block of AGW: every position of a map attends to all others.

B batch, C channels, H height, W width, N all positions.
"""

from torch import Tensor, nn


class NonLocal(nn.Module):
    """Wang et al. 2018 (arXiv 1711.07971), dot product form: x + W(theta(x)^T phi(x) g(x) / N).

    W ends with a batch norm whose scale and bias start at zero, so that a fresh block changes nothing.

    Args:
        inner: channels of theta, phi and g.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.theta = nn.Conv2d(channels, inner, 1)
        self.phi = nn.Conv2d(channels, inner, 1)
        self.g = nn.Conv2d(channels, inner, 1)
        norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)
        self.W = nn.Sequential(nn.Conv2d(inner, channels, 1), norm)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Return a map of the same shape."""
        theta_BNC = self.theta(map_BCHW).flatten(2).transpose(1, 2)
        phi_BCN = self.phi(map_BCHW).flatten(2)
        g_BNC = self.g(map_BCHW).flatten(2).transpose(1, 2)
        # (theta phi) g = theta (phi g): there is no softmax in between, so the small product comes first
        mixed_BNC = theta_BNC @ (phi_BCN @ g_BNC) / phi_BCN.shape[2]
        mixed_BCHW = mixed_BNC.transpose(1, 2).unflatten(2, map_BCHW.shape[2:])
        looked: Tensor = self.W(mixed_BCHW)
        return looked + map_BCHW


class WithNonLocal(nn.Module):
    """A stage of a residual network with a non-local block after each of its last blocks."""

    def __init__(self, stage: nn.Sequential, channels: int, inner: int, num_blocks: int) -> None:
        super().__init__()
        self.blocks = stage
        first = max(len(stage) - num_blocks, 0)
        self.non_local = nn.ModuleDict({str(place): NonLocal(channels, inner) for place in range(first, len(stage))})

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Return the stage's map."""
        for place, block in enumerate(self.blocks):
            map_BCHW = block(map_BCHW)
            if str(place) in self.non_local:
                map_BCHW = self.non_local[str(place)](map_BCHW)
        return map_BCHW
