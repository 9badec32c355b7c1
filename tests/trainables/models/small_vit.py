"""A small vision transformer of timm and weights for it."""

import torch
from timm.models.vision_transformer import VisionTransformer


def network_of(**changes):
    """A small transformer with a grid of 4 x 4 and weights of its own."""
    settings = {"img_size": 32, "patch_size": 8, "embed_dim": 96, "depth": 2, "num_heads": 3, "num_classes": 0}
    return VisionTransformer(**{**settings, **changes})


def drawn(network, seed=1):
    """The network's tensors with every value drawn at random, so that no two are equal."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(value.shape, generator=generator) for name, value in network.state_dict().items()}


def assert_loaded(network, states):
    for name, value in network.state_dict().items():
        assert torch.equal(value, states[name].to(value.dtype)), name
