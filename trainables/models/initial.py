"""Initial weights, as each system's authors set them."""

import math

from timm.models.vision_transformer import VisionTransformer
from torch import nn

BIAS_STD = 1e-6  # biases of Animesion's linear layers
POSITION_STD = 0.02  # position embeddings of every system
TRANSREID_STD = 0.02  # TransReID's linear layers, class token and positions


def init_default(network: nn.Module) -> None:
    """Initialize every convolution and linear layer as torch does by default."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.reset_parameters()


def init_as_paddle(network: nn.Module) -> None:
    """Initialize every convolution with Paddle's default: He normal by fan-in."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


def init_xavier(network: nn.Module) -> None:
    """Initialize linear layers and convolutions as Animesion's ResNets: Xavier uniform, biases of nearly 0."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.normal_(module.bias, std=BIAS_STD)


def init_vit_as_animesion(vit: VisionTransformer) -> None:
    """Initialize a transformer as Animesion and pytorch_pretrained_vit 0.0.7 do.

    Linear layers are Xavier uniform. timm's fused query, key and value layer is initialized as three separate layers,
    as in their code. The patch convolution keeps torch's default.
    """
    for name, module in vit.named_modules():
        if not isinstance(module, nn.Linear):
            continue
        num_outputs, num_inputs = module.weight.shape
        limit = math.sqrt(6 / ((num_outputs // 3 if name.endswith("qkv") else num_outputs) + num_inputs))
        nn.init.uniform_(module.weight, -limit, limit)
        if module.bias is not None:
            nn.init.normal_(module.bias, std=BIAS_STD)
    assert vit.cls_token is not None
    assert vit.pos_embed is not None
    nn.init.zeros_(vit.cls_token)
    nn.init.normal_(vit.pos_embed, std=POSITION_STD)


def init_vit_as_transreid(vit: VisionTransformer) -> None:
    """Initialize a transformer as TransReID: truncated normals of 0.02, He normal for the patch convolution."""
    patches = vit.patch_embed.proj
    nn.init.normal_(patches.weight, std=math.sqrt(2 / (patches.weight[0, 0].numel() * patches.out_channels)))
    for module in vit.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=TRANSREID_STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    assert vit.cls_token is not None
    assert vit.pos_embed is not None
    for tokens in (vit.cls_token, vit.pos_embed):
        nn.init.trunc_normal_(tokens, std=TRANSREID_STD)
