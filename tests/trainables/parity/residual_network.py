"""A restatement of the residual networks of AGW, LSASRD and PaddleClas in plain torch.

He et al. 2016 (ResNet), Hu et al. 2018 (SE, as Caffe has it), Pan et al. 2018 (IBN-a), Wang et al. 2018 and Ye et al.
2021 (non-local blocks, GeM). It shares no code with `trainables`. B batch, C channels, H W places of the map.
"""

import math

import torch
from torch import Tensor, nn

EXPANSION = {"basic": 1, "bottleneck": 4, "se": 4, "se_next": 4}


def conv(channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size of its map at stride 1; no bias."""
    return nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)


class Residual(nn.Module):
    """relu(shortcut(x) + convolutions(x)); "se" strides in its first convolution, as Caffe does, others in the 3x3."""

    def __init__(self, kind: str, channels: int, planes: int, stride: int, ibn: bool) -> None:
        super().__init__()
        out = planes * EXPANSION[kind]
        if kind == "basic":
            convs = [conv(channels, planes, 3, stride), conv(planes, out, 3)]
        elif kind == "se":
            convs = [conv(channels, planes, 1, stride), conv(planes, planes, 3), conv(planes, out, 1)]
        else:
            inner, groups = (planes * 2, 32) if kind == "se_next" else (planes, 1)
            convs = [conv(channels, inner, 1), conv(inner, inner, 3, stride, groups), conv(inner, out, 1)]
        for number, layer in enumerate(convs, start=1):
            norm = InstanceBatch(planes) if ibn and number == 1 else nn.BatchNorm2d(layer.out_channels)
            self.add_module(f"conv{number}", layer)
            self.add_module(f"bn{number}", norm)
        self.num_convs = len(convs)
        self.se_module = Excitation(out) if kind.startswith("se") else None
        self.downsample = (
            nn.Sequential(conv(channels, out, 1, stride), nn.BatchNorm2d(out))
            if stride != 1 or channels != out
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for number in range(1, self.num_convs + 1):
            y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
            y = y.relu() if number < self.num_convs else y
        y = y if self.se_module is None else self.se_module(y)
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class Excitation(nn.Module):
    """Each channel times a gate made from all channels' means, through a sixteenth of the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, channels // 16, 1), nn.Conv2d(channels // 16, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.fc2(self.fc1(x.mean(dim=(2, 3), keepdim=True)).relu()))


class InstanceBatch(nn.Module):
    """Instance norm for the first half of the channels, batch norm for the rest."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.IN = nn.InstanceNorm2d(channels // 2, affine=True)
        self.BN = nn.BatchNorm2d(channels - channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        half = self.IN.num_features
        return torch.cat([self.IN(x[:, :half]), self.BN(x[:, half:])], dim=1)


class NonLocal(nn.Module):
    """x + W(theta^T phi g / places); W ends in a batch norm that starts with gamma and beta 0."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.theta, self.phi, self.g = (nn.Conv2d(channels, inner, 1) for _ in range(3))
        self.W = nn.Sequential(nn.Conv2d(inner, channels, 1), nn.BatchNorm2d(channels))
        nn.init.zeros_(self.W[1].weight)

    def forward(self, x: Tensor) -> Tensor:
        theta, phi, g = self.theta(x).flatten(2), self.phi(x).flatten(2), self.g(x).flatten(2)
        attention = theta.mT @ phi / phi.shape[2]
        return x + self.W((attention @ g.mT).mT.unflatten(2, x.shape[2:]))


class ResidualNetwork(nn.Module):
    """The map of the last stage; names as torchvision has them, `layer2_nl0` the first stage-2 block's non-local one.

    Args:
        non_local: "none", "dot" with a sixteenth of the channels inside, or "narrow" with one channel.
        init: "agw": conv N(0, sqrt(2 / (k k out))); "paddle": sqrt(2 / (k k in)); "torch": torch's default.
    """

    def __init__(
        self, *, kind: str, blocks: tuple[int, ...], planes: tuple[int, ...] = (64, 128, 256, 512), init: str,
        last_stride: int = 2, stem_relu: bool = True, ibn: bool = False, non_local: str = "none",
    ) -> None:  # fmt: skip
        super().__init__()
        stem = nn.ModuleDict({"conv1": nn.Conv2d(3, 64, 7, 2, 3, bias=False), "bn1": nn.BatchNorm2d(64)})
        if kind.startswith("se"):
            self.layer0, self.pool = stem, nn.MaxPool2d(3, 2, ceil_mode=True)
        else:
            self.conv1, self.bn1, self.pool = stem["conv1"], stem["bn1"], nn.MaxPool2d(3, 2, 1)
        self.stem, self.stem_relu = [stem["conv1"], stem["bn1"]], stem_relu
        channels = 64
        self.order: list[str] = []
        for stage, (number, width) in enumerate(zip(blocks, planes, strict=True), start=1):
            stride = {1: 1, 4: last_stride}.get(stage, 2)
            layer = nn.Sequential()
            looking = {2: 2, 3: 3}.get(stage, 0) if non_local != "none" else 0
            for place in range(number):
                layer.append(Residual(kind, channels, width, stride if place == 0 else 1, ibn and stage < 4))
                channels = width * EXPANSION[kind]
                self.order.append(f"layer{stage}.{place}")
                if place >= number - looking:
                    inner = 1 if non_local == "narrow" else channels // 16
                    self.add_module(f"layer{stage}_nl{place}", NonLocal(channels, inner))
                    self.order.append(f"layer{stage}_nl{place}")
            self.add_module(f"layer{stage}", layer)
        self.width = channels
        self._start(init)

    def _start(self, init: str) -> None:
        for name, layer in self.named_modules():
            # the non-local blocks keep torch's default, and so does everything in upstream's SE networks
            if isinstance(layer, nn.Conv2d) and "_nl" not in name and init != "torch":
                fan = layer.out_channels if init == "agw" else layer.in_channels
                nn.init.normal_(layer.weight, std=math.sqrt(2 / (layer.kernel_size[0] ** 2 * fan)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem[1](self.stem[0](x))
        x = self.pool(x.relu() if self.stem_relu else x)
        for name in self.order:
            x = self.get_submodule(name)(x)
        return x


class AGWNetwork(nn.Module):
    """The pooled map, a neck whose bias stays 0, a classifier without bias that starts at N(0, .001)."""

    def __init__(self, network: ResidualNetwork, classes: int, *, gem: bool) -> None:
        super().__init__()
        self.network = network
        self.p = nn.Parameter(torch.full((1,), 3.0)) if gem else None
        self.neck, self.fc = nn.BatchNorm1d(network.width), nn.Linear(network.width, classes, bias=False)
        self.neck.bias.requires_grad_(False)
        nn.init.normal_(self.fc.weight, std=0.001)

    def forward(self, images: Tensor) -> dict[str, list[Tensor]]:
        """Logits, the feature before the neck, and the one behind it."""
        x = self.network(images)
        if self.p is None:
            pooled = x.mean(dim=(2, 3))
        else:
            pooled = x.clamp(min=1e-6).pow(self.p).mean(dim=(2, 3)).pow(1 / self.p)
        necked = self.neck(pooled)
        return {"logits": [self.fc(necked)], "features": [pooled], "necked": [necked]}


class PaddleNetwork(nn.Module):
    """PaddleClas's RecModel: the mean of the map, and a linear layer with Xavier's normal weights and a bias of 0."""

    def __init__(self, network: ResidualNetwork, classes: int) -> None:
        super().__init__()
        self.network, self.fc = network, nn.Linear(network.width, classes)
        nn.init.xavier_normal_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, images: Tensor) -> dict[str, list[Tensor]]:
        pooled = self.network(images).mean(dim=(2, 3))
        return {"logits": [self.fc(pooled)], "features": [pooled]}
