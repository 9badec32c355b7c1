"""Pool a map into one feature.

B batch, C channels, H height, W width.
"""

import torch
from torch import Tensor, nn

SMALLEST = 1e-6  # as in AGW's code: powers of 0 have no gradient


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
