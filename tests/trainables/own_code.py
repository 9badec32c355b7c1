"""A user's file: a backbone, two losses with weights of their own, and a recipe. Tests give it with `--import`."""

import torch
from pytorch_metric_learning.losses import ProxyNCALoss
from torch import Tensor, nn
from torch.nn import functional

from trainables import register_backbone, register_id_loss, register_metric_loss, register_recipe


class Squeeze(nn.Module):
    """Two convolutions and a mean over the image."""

    num_features = 16

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 5, stride=4)
        self.second = nn.Conv2d(8, self.num_features, 3, stride=2)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.second(functional.gelu(self.first(images_BCHW))).mean(dim=(2, 3))


class ScaledSoftmax(nn.Module):
    """Cross-entropy of logits times a learned scale."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, logits_BN: Tensor, labels_B: Tensor) -> Tensor:
        return functional.cross_entropy(self.scale * logits_BN, labels_B)


def squeeze(recipe) -> Squeeze:
    return Squeeze()


def proxy_nca(recipe, num_classes: int, feature_dim: int) -> ProxyNCALoss:
    return ProxyNCALoss(num_classes, feature_dim, softmax_scale=3)


def scaled_softmax(recipe) -> ScaledSoftmax:
    return ScaledSoftmax()


register_backbone("squeeze", squeeze)
register_metric_loss("proxy_nca", proxy_nca)
register_id_loss("scaled_softmax", scaled_softmax)
register_recipe(
    "squeeze-proxies",
    base="open-tiny",
    backbone="squeeze",
    metric_loss="proxy_nca",
    image_size=24,
    pad_px=1,
    works_per_batch=4,
    images_per_epoch=None,
    epochs=3,
)
