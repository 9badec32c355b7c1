"""Learning from a teacher that was trained on the same classes.

B batch, N works.
"""

from torch import Tensor
from torch.nn import functional


def distillation_loss(logits_BN: Tensor, teacher_BN: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(own / T)), the mean over the batch (Hinton et al. 2015, arXiv 1503.02531).

    The factor keeps the gradient as large as that of the labels, whatever T.
    """
    own_BN = functional.log_softmax(logits_BN / temperature, dim=1)
    theirs_BN = functional.log_softmax(teacher_BN / temperature, dim=1)
    divergence = functional.kl_div(own_BN, theirs_BN, reduction="batchmean", log_target=True)
    return temperature**2 * divergence
