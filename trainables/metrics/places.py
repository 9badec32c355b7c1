"""Where the right class comes in the order of the logits. Q images, N classes."""

import torch
from torch import Tensor


def places_of_classes(logits_QN: Tensor, classes_Q: Tensor) -> Tensor:
    """Return the rank of the right class in the order of the logits, from 1; ties rank in the order of the classes."""
    own_Q1 = logits_QN.gather(1, classes_Q[:, None])
    before_QN = torch.arange(logits_QN.shape[1], device=logits_QN.device) < classes_Q[:, None]
    return ((logits_QN > own_Q1) | ((logits_QN == own_Q1) & before_QN)).sum(dim=1) + 1
