"""Fresh weights as Animesion draws them."""

import math

from torch import nn

BIAS_STD = 1e-6


def init_as_animesion(network: nn.Module) -> None:
    """Xavier's uniform weights and biases of nearly 0, for all linear layers and convolutions.

    timm keeps query, key and value in one layer; theirs are three, and drawn as such.
    """
    for name, module in network.named_modules():
        if not isinstance(module, nn.Linear | nn.Conv2d):
            continue
        if name.endswith("qkv"):
            limit = math.sqrt(6 / (module.weight.shape[0] // 3 + module.weight.shape[1]))
            nn.init.uniform_(module.weight, -limit, limit)
        else:
            nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.normal_(module.bias, std=BIAS_STD)
