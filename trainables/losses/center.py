"""The center loss: how far an image is from the middle of its work.

B batch, D width, N works.
"""

import torch
from torch import Tensor, nn

CENTRE_LR = 0.5  # AGW's SOLVER.CENTER_LR
CLAMP = (1e-12, 1e12)


class CenterLoss(nn.Module):
    """Mean over the batch of the squared distance between a feature and the center of its work.

    Wen et al. 2016 (ECCV). The centers follow by plain gradient descent of this very loss at 0.5, whatever its weight,
    as in AGW's code, which divides the weight out of their gradient; so they need no optimizer.
    """

    centers: Tensor

    def __init__(self, num_works: int, width: int) -> None:
        super().__init__()
        self.register_buffer("centers", torch.randn(num_works, width))

    def forward(self, features_BD: Tensor, works_B: Tensor) -> Tensor:
        """The loss at the centers as they stand; in training mode they then move."""
        offsets_BD = features_BD - self.centers[works_B]
        loss = offsets_BD.square().sum(dim=1).clamp(*CLAMP).mean()
        if self.training:
            steps_BD = 2 * CENTRE_LR / len(works_B) * offsets_BD.detach()
            self.centers.index_add_(0, works_B, steps_BD)
        return loss
