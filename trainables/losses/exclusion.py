"""The exclusion loss: blocks should tell different things.

B batch, K blocks, D width.
"""

import torch
from torch import Tensor
from torch.nn import functional


def exclusion_loss(class_tokens_BKD: Tensor, distance: int, temperature: float) -> Tensor:
    """T^2 times the sum over blocks i of KL(softmax(cls of i + distance / T) || softmax(cls of i / T)), a batch mean.

    As Animesion's code has it; it is taken off the total, so that minimising drives the blocks apart.
    """
    logs_BKD = functional.log_softmax(class_tokens_BKD / temperature, dim=2)
    later_BKD, earlier_BKD = logs_BKD[:, distance:], logs_BKD[:, :-distance]
    divergence = (torch.exp(later_BKD) * (later_BKD - earlier_BKD)).sum() / len(class_tokens_BKD)
    return temperature**2 * divergence
