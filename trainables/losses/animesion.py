"""Animesion's losses: class tokens of different blocks should differ, and masked tags are predicted.

B batch, K blocks, D width, L text length, V words.
"""

import torch
from torch import Tensor
from torch.nn import functional


def exclusion_loss(class_tokens_BKD: Tensor, distance: int, temperature: float) -> Tensor:
    """Return T^2 times the sum over blocks i of KL(softmax(c_(i + distance) / T) || softmax(c_i / T)), a batch mean.

    As in Animesion's code; c_i is the class token of block i, and T the temperature. `Criterion` subtracts it, so that
    minimizing the weighted sum drives the blocks apart.
    """
    log_probs_BKD = functional.log_softmax(class_tokens_BKD / temperature, dim=2)
    later_BKD, earlier_BKD = log_probs_BKD[:, distance:], log_probs_BKD[:, :-distance]
    divergence = (torch.exp(later_BKD) * (later_BKD - earlier_BKD)).sum() / len(class_tokens_BKD)
    return temperature**2 * divergence


def tag_loss(logits_BLV: Tensor, asked_BL: Tensor) -> Tensor:
    """Return the mean cross-entropy over the masked words, or 0 if no word is masked.

    Args:
        logits_BLV: predictions for every word.
        asked_BL: the masked words; -100 (torch's `ignore_index`) elsewhere.
    """
    summed_loss = functional.cross_entropy(logits_BLV.flatten(0, 1), asked_BL.flatten(), reduction="sum")
    return summed_loss / (asked_BL >= 0).sum().clamp(min=1)
