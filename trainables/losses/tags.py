"""The loss of predicting masked tags.

B batch, L text length, V words.
"""

from torch import Tensor
from torch.nn import functional


def tag_loss(logits_BLV: Tensor, asked_BL: Tensor) -> Tensor:
    """Return the mean cross-entropy over the masked words, or 0 if no word is masked.

    Args:
        logits_BLV: predictions for every word.
        asked_BL: the masked words; -100 (torch's `ignore_index`) elsewhere.
    """
    summed_loss = functional.cross_entropy(logits_BLV.flatten(0, 1), asked_BL.flatten(), reduction="sum")
    return summed_loss / (asked_BL >= 0).sum().clamp(min=1)
