"""Guessing the words that were hidden.

B batch, L text length, V words.
"""

from torch import Tensor
from torch.nn import functional


def tag_loss(logits_BLV: Tensor, asked_BL: Tensor) -> Tensor:
    """The mean cross-entropy over the hidden words; 0 where none is hidden."""
    losses_N = functional.cross_entropy(logits_BLV.flatten(0, 1), asked_BL.flatten(), reduction="sum")
    return losses_N / (asked_BL >= 0).sum().clamp(min=1)
