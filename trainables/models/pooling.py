"""From a map to one feature.

B batch, C channels, H W places of the map.
"""

import torch
from torch import Tensor, nn

SMALLEST = 1e-6  # as AGW's code: powers of 0 have no gradient


class GeM(nn.Module):
    """Generalised mean: (mean over places of x^p)^(1/p), with one p that is learned, 3 at first.

    Radenovic et al. 2019 (arXiv 1711.02512), eq. 3, with values below 1e-6 raised to it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor([3.0]))

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """B x C."""
        powers_BCHW = map_BCHW.float().clamp(min=SMALLEST).pow(self.p)
        return powers_BCHW.mean(dim=(2, 3)).pow(1 / self.p)


class Average(nn.Module):
    """The mean over all places."""

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """B x C."""
        return map_BCHW.float().mean(dim=(2, 3))
