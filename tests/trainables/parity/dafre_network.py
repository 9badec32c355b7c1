"""A restatement of DAF:re's convolutional classifiers (Rios et al. 2021) in plain torch and torchvision.

Its ResNets are torchvision's. Its transformers are in animesion_network.py. It shares no code with `trainables`.
"""

import torch
from torch import Tensor, nn
from torchvision.models import resnet18, resnet152
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

TORCHVISION = {"resnet18": resnet18, "resnet152": resnet152}


def dafre_resnet(name: str, classes: int) -> ResNet:
    """Return torchvision's network with Xavier uniform weights and a fresh classifier at torch's default."""
    return _start(TORCHVISION[name](weights=None), classes)


def narrow_resnet(kind: str, blocks: tuple[int, ...], planes: tuple[int, ...], classes: int) -> ResNet:
    """torchvision's network with other numbers of blocks and channels in its stages: the tiny scale's."""
    block = {"basic": BasicBlock, "bottleneck": Bottleneck}[kind]
    with torch.device("meta"):  # its own stages are not wanted
        network = ResNet(block, blocks)
    network.conv1, network.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
    network.inplanes = 64
    for stage, (number, width) in enumerate(zip(blocks, planes, strict=True), start=1):
        setattr(network, f"layer{stage}", network._make_layer(block, width, number, stride=1 if stage == 1 else 2))
    network.fc = nn.Linear(planes[-1] * block.expansion, 1)
    return _start(network, classes)


def _start(network: ResNet, classes: int) -> ResNet:
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
        elif isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
    network.fc = nn.Linear(network.fc.in_features, classes)
    return network


class ArcFaceResNet(nn.Module):
    """A residual network whose classifier is a cosine to each class's direction, Xavier's uniform at first."""

    def __init__(self, network: ResNet, classes: int) -> None:
        super().__init__()
        width = network.fc.in_features
        network.fc = nn.Identity()
        self.network = network
        self.directions = nn.Parameter(nn.init.xavier_uniform_(torch.empty(classes, width)))

    def forward(self, images: Tensor) -> Tensor:
        features = nn.functional.normalize(self.network(images), dim=1)
        return features @ nn.functional.normalize(self.directions, dim=1).T


class ShallowNet(nn.Module):
    """Two convolutions of 5 x 5 and two linear layers, dropout of .2 between them; torch's default start."""

    def __init__(self, image_size: int, width: int, classes: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 5), nn.BatchNorm2d(16)
        self.conv2, self.bn2 = nn.Conv2d(16, 32, 5), nn.BatchNorm2d(32)
        side = ((image_size - 4) // 2 - 4) // 2
        self.fc1, self.drop, self.fc2 = nn.Linear(32 * side * side, width), nn.Dropout(0.2), nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(self.bn1(self.conv1(images)).relu(), 2)
        x = nn.functional.max_pool2d(self.bn2(self.conv2(x)).relu(), 2)
        return self.fc2(self.drop(self.fc1(x.flatten(1)).relu()))
