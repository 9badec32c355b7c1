"""Distillation from a teacher that was trained on the same classes.

B batch, N works.
"""

from torch import Tensor
from torch.nn import functional


def distillation_loss(logits_BN: Tensor, teacher_BN: Tensor, temperature: float) -> Tensor:
    """Return the batch mean of T^2 KL(softmax(teacher / T) || softmax(logits / T)).

    Hinton et al. 2015 (arXiv 1503.02531), where T is the temperature. The factor T^2 makes the size of the gradient
    independent of T.
    """
    log_probs_BN = functional.log_softmax(logits_BN / temperature, dim=1)
    teacher_log_probs_BN = functional.log_softmax(teacher_BN / temperature, dim=1)
    divergence = functional.kl_div(log_probs_BN, teacher_log_probs_BN, reduction="batchmean", log_target=True)
    return temperature**2 * divergence
