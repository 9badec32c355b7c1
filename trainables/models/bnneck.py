"""The head of a branch: batch normalisation between the feature and its classifier (BNNeck)."""

from torch import Tensor, nn


class BNNeck(nn.Module):
    """Logits of a feature: batch norm whose bias stays 0, then a classifier without bias.

    Luo et al. 2019 (arXiv 1903.07071).
    """

    def __init__(self, width: int, num_works: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.norm.bias.requires_grad_(False)
        self.classifier = nn.Linear(width, num_works, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    def forward(self, features_BD: Tensor) -> Tensor:
        logits_BN: Tensor = self.classifier(self.norm(features_BD))
        return logits_BN
