"""The center loss: the distance of features to the center of their work.

B batch, D width, N works.
"""

import torch
from torch import Tensor, nn

CENTER_LR = 0.5  # AGW's SOLVER.CENTER_LR
CLAMP = (1e-12, 1e12)


class CenterLoss(nn.Module):
    """Mean over the batch of the squared distance between a feature and the center of its work.

    Wen et al. 2016 (ECCV). The centers are updated by plain gradient descent on this loss with a learning rate of 0.5,
    so they need no optimizer. The loss's weight does not affect them, because AGW's code divides it out of their
    gradient.
    """

    centers: Tensor

    def __init__(self, num_works: int, width: int) -> None:
        super().__init__()
        self.register_buffer("centers", torch.randn(num_works, width))

    def forward(self, features_BD: Tensor, works_B: Tensor) -> Tensor:
        """Return the loss at the current centers; in training mode, update them afterwards."""
        offsets_BD = features_BD - self.centers[works_B]
        loss = offsets_BD.square().sum(dim=1).clamp(*CLAMP).mean()
        if self.training:
            steps_BD = 2 * CENTER_LR / len(works_B) * offsets_BD.detach()
            self.centers.index_add_(0, works_B, steps_BD)
        return loss
