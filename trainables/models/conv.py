"""timm's residual networks with the papers' changes, freshly initialized or pretrained.

B batch, C channels, H height, W width.
"""

import copy
import math
from typing import Any

import timm
import torch
from torch import Tensor, nn

from trainables.models.initial import init_default
from trainables.models.weight_files import States
from trainables.models.weights import load_pretrained
from trainables.recipes.backbones import ConvNet, get_backbone
from trainables.recipes.images import Size
from trainables.recipes.recipe import Recipe

STAGES = ("layer1", "layer2", "layer3", "layer4")


def build_conv(recipe: Recipe) -> nn.Module:
    """Return the recipe's network without pooling and classifier; `forward_features` returns its last feature map.

    Raises:
        Error: the pretrained weights cannot be read or do not fit.
    """
    shape = get_backbone(recipe.backbone)
    assert isinstance(shape, ConvNet)  # the recipe has checked it
    network: nn.Module = timm.create_model(shape.architecture, num_classes=0, global_pool="", **_arguments(shape))
    if not _is_resnet(shape):
        init_default(network)  # timm uses He normals; LSASRD's code keeps torch's defaults
    if shape.ibn:
        set_ibn(network)
    if recipe.pretrained:
        load_pretrained(network, recipe, shape, without_classifier)
    return network


def _is_resnet(shape: ConvNet) -> bool:
    return shape.architecture.startswith("resnet")


def _arguments(shape: ConvNet) -> dict[str, Any]:
    """Return the arguments of timm's constructor.

    Every batch norm of a ResNet starts with a scale of 1, as in torchvision and in the papers' code: with timm's 0 in
    the last one of each block, DAF:re's ResNet-18 does not learn from scratch at the paper's learning rate.
    """
    return {**shape.arguments, "zero_init_last": False} if _is_resnet(shape) else dict(shape.arguments)


def without_classifier(states: States) -> States:
    """Return the weights without those of the classifier."""
    return {
        name: value for name, value in states.items() if not name.startswith(("fc.", "last_linear.", "classifier."))
    }


def unstride_last_stage(network: nn.Module) -> None:
    """Keep the map size in the last stage, without dilation; timm's own output_stride would dilate it."""
    block = network.get_submodule("layer4.0")
    strided = [module for module in block.modules() if isinstance(module, nn.Conv2d) and module.stride == (2, 2)]
    for module in strided:
        module.stride = (1, 1)


def count_places(network: nn.Module, size: Size) -> int:
    """Count the positions of the last map for images of this size, on the meta device."""
    shapes_alone = copy.deepcopy(network).to("meta").eval()
    images_BCHW = torch.empty(1, 3, *size, device="meta")
    map_BCHW: Tensor = shapes_alone.forward_features(images_BCHW)  # type: ignore[operator]
    return math.prod(map_BCHW.shape[2:])


def channels_of(network: nn.Module, stage: str) -> int:
    """Return the number of output channels of a stage."""
    return next(int(info["num_chs"]) for info in network.feature_info if info["module"] == stage)  # type: ignore[union-attr]


class InstanceBatchNorm(nn.Module):
    """IBN-a: instance norm, which removes style, for half of the channels (rounded down), batch norm for the rest.

    Pan et al. 2018 (arXiv 1807.09441).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.num_instance = channels // 2
        self.IN = nn.InstanceNorm2d(self.num_instance, affine=True)  # named as in the authors' weights
        self.BN = nn.BatchNorm2d(channels - self.num_instance)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Return a map of the same shape."""
        first_BCHW, rest_BCHW = map_BCHW[:, : self.num_instance], map_BCHW[:, self.num_instance :]
        return torch.cat([self.IN(first_BCHW), self.BN(rest_BCHW)], dim=1)


def set_ibn(network: nn.Module) -> None:
    """Replace the first norm of every block in the first three stages of timm's ResNet by InstanceBatchNorm."""
    for stage in ("layer1", "layer2", "layer3"):
        for block in network.get_submodule(stage).children():
            assert isinstance(block.bn1, nn.BatchNorm2d)
            block.bn1 = InstanceBatchNorm(block.bn1.num_features)
