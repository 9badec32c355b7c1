"""The exclusion loss: class tokens of different blocks should differ.

B batch, K blocks, D width.
"""

import torch
from torch import Tensor
from torch.nn import functional


def exclusion_loss(class_tokens_BKD: Tensor, distance: int, temperature: float) -> Tensor:
    """Return T^2 times the sum over blocks i of KL(softmax(c_(i + distance) / T) || softmax(c_i / T)), a batch mean.

    As in Animesion's code; c_i is the class token of block i, and T the temperature. `Losses` subtracts it, so that
    minimizing the weighted sum drives the blocks apart.
    """
    log_probs_BKD = functional.log_softmax(class_tokens_BKD / temperature, dim=2)
    later_BKD, earlier_BKD = log_probs_BKD[:, distance:], log_probs_BKD[:, :-distance]
    divergence = (torch.exp(later_BKD) * (later_BKD - earlier_BKD)).sum() / len(class_tokens_BKD)
    return temperature**2 * divergence
