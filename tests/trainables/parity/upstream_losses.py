"""A restatement of upstream's losses in plain torch, from the papers and the running programs.

It shares no code with `trainables`. B batch, D width, N works, K blocks, L text length, V words.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def smoothed_cross_entropy(logits_BN: Tensor, works_B: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy against (1 - e) of the label and e / N of everything."""
    targets_BN = torch.full_like(logits_BN, smoothing / logits_BN.shape[1])
    for row, work in enumerate(works_B.tolist()):
        targets_BN[row, work] += 1 - smoothing
    return -(targets_BN * torch.log_softmax(logits_BN, dim=1)).sum(dim=1).mean()


def distances(features_BD: Tensor) -> Tensor:
    """Euclidean distances by |x|^2 + |y|^2 - 2xy, squares not below 1e-12."""
    squares_B1 = features_BD.pow(2).sum(dim=1, keepdim=True)
    return (squares_B1 + squares_B1.T - 2 * features_BD @ features_BD.T).clamp(min=1e-12).sqrt()


def soft_margin(gaps_B: Tensor) -> Tensor:
    """The mean of log(1 + exp(gap)) as torch's SoftMarginLoss computes it: infinite where exp(gap) is."""
    return nn.SoftMarginLoss()(-gaps_B, torch.ones_like(gaps_B))


def soft_triplet(features_BD: Tensor, works_B: Tensor) -> Tensor:
    """TransReID's: each image's farthest positive less its nearest negative, by the soft margin."""
    distances_BB = distances(features_BD)
    gaps = []
    for row, own in enumerate(works_B):
        same = works_B == own
        gaps.append(distances_BB[row, same].max() - distances_BB[row, ~same].min())
    return soft_margin(torch.stack(gaps))


def weighted_triplet(features_BD: Tensor, works_B: Tensor) -> Tensor:
    """AGW's, as LSASRD's program computes it.

    What is subtracted before the exponentials is the greatest of a row in which the pairs of the other kind count as 0;
    1e-6 is added to the sums.
    """
    distances_BB = distances(features_BD)
    gaps = []
    for row, own in enumerate(works_B):
        parts = []
        for sign, kind in ((1.0, works_B == own), (-1.0, works_B != own)):
            signed = sign * distances_BB[row]
            exponentials = torch.exp(signed - (signed * kind).max()) * kind
            parts.append((exponentials / (exponentials.sum() + 1e-6) * distances_BB[row]).sum())
        gaps.append(parts[0] - parts[1])
    return soft_margin(torch.stack(gaps))


class CenterLoss(nn.Module):
    """The mean squared distance to the center of the image's work; centers start at N(0, 1) and learn by SGD at 0.5.

    Their gradient is taken without the loss's weight. Upstream sums over all works, of which the others' zeros are
    raised to 1e-12.
    """

    lr = 0.5

    def __init__(self, works: int, width: int) -> None:
        super().__init__()
        self.centers = nn.Parameter(torch.randn(works, width))

    def forward(self, features_BD: Tensor, works_B: Tensor) -> Tensor:
        squares_B = (features_BD - self.centers[works_B]).pow(2).sum(dim=1)
        return squares_B.clamp(1e-12, 1e12).mean() + 1e-12 * (len(self.centers) - 1)


def of_branches(losses: Sequence[Tensor]) -> Tensor:
    """JPM: half of the global branch's loss and half of the local ones' mean."""
    return losses[0] if len(losses) == 1 else 0.5 * losses[0] + 0.5 * torch.stack(list(losses[1:])).mean()


def tag_loss(logits_BLV: Tensor, asked_BL: Tensor) -> Tensor:
    """Animesion's: the mean cross-entropy over the masked words; the labels of the others are -100."""
    asked = asked_BL != -100
    return -torch.log_softmax(logits_BLV[asked], dim=1).gather(1, asked_BL[asked][:, None]).mean()


def exclusion_loss(class_tokens_BKD: Tensor, distance: int, temperature: float) -> Tensor:
    """Animesion's: T^2 KL(block i + distance || block i), summed over i, a mean over the batch; it is subtracted."""
    blocks = torch.softmax(class_tokens_BKD / temperature, dim=2).unbind(dim=1)
    total = torch.zeros(())
    for earlier, later in zip(blocks, blocks[distance:], strict=False):
        total = total + (later * (later.log() - earlier.log())).sum() / len(earlier)
    return temperature**2 * total
