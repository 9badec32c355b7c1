"""The family `open`: a network of timm or a registered one, unchanged, followed by a neck.

B batch, D width.
"""

import copy
import dataclasses
import math
from typing import Any

import timm
import torch
from timm.models import group_parameters, load_state_dict_from_hf
from torch import Tensor, nn

from shards_tools.errors import Error
from trainables.factories import call_factory
from trainables.models.head import BranchHead
from trainables.models.input_step import InputStep
from trainables.models.model import Features, Model
from trainables.models.timm_models import build_timm_model
from trainables.models.weight_files import States
from trainables.models.weights import from_hub, hub_weights, load_file, load_states
from trainables.recipes.backbones import AnyNetwork, OwnNetwork, TimmModel, get_backbone
from trainables.recipes.images import Size
from trainables.recipes.open_networks import OpenRecipe

HUB = "hf-hub:"
CLASSIFIERS = ("head.fc.", "head.weight", "head.bias", "fc.", "classifier.")


def build_open(recipe: OpenRecipe, num_works: int, num_words: int = 0) -> Model:
    """Build the network with the neck and classifier of re-identification on its pooled feature."""
    backbone = OpenBackbone(recipe)
    return Model(backbone, BranchHead(recipe, backbone.width, 1, num_works, neck_feature=recipe.neck_feature))


class OpenBackbone(nn.Module):
    """A network whose own pooling returns the only branch.

    Raises:
        Error: the weights cannot be read or do not fit, the factory of a registered network returned something else, or
            the network does not support activation checkpointing.
    """

    num_branches = 1

    def __init__(self, recipe: OpenRecipe) -> None:
        super().__init__()
        shape = get_backbone(recipe.backbone)
        self.input_step = InputStep(recipe)
        self.name, self.image_size = recipe.backbone, recipe.size
        if isinstance(shape, AnyNetwork):
            self.network, self.width = _network(recipe, shape), shape.width
        elif isinstance(shape, TimmModel):
            self.network = _timm_network(recipe)
            self.width = shape.width
        else:
            assert isinstance(shape, OwnNetwork)  # the recipe has checked it
            self.network = _own_network(recipe, shape)
            self.width = int(self.network.num_features)  # type: ignore[arg-type]
        if recipe.activation_checkpointing:
            _recompute_activations(self.network, recipe)

    @property
    def num_tokens(self) -> int:
        """Patches per image, or positions in the last feature map; 0 if unknown."""
        shape = get_backbone(self.name)
        if isinstance(shape, AnyNetwork):
            return math.prod(side // shape.grid_px for side in self.image_size)
        return _count_tokens(self.network, self.image_size)

    def forward(self, images_BHWC: Tensor, words_BL: Tensor | None = None) -> Features:
        """Return the only branch, B x 1 x D.

        Raises:
            Error: the network's output is not B x D.
        """
        features_BD: Tensor = self.network(self.input_step(images_BHWC))
        if features_BD.shape[1:] != (self.width,):
            found = " x ".join(map(str, features_BD.shape))
            raise Error(f"backbone={self.name} returned {found}. Let it return B x num_features, B x {self.width}.")
        return {"branches": features_BD[:, None]}

    def layers(self) -> dict[str, int]:
        """Return the layer of each weight, counted from the input; 0 for all if the network does not define layers."""
        if not hasattr(self.network, "group_matcher"):
            return {f"network.{name}": 0 for name, _ in self.network.named_parameters()}
        matcher = self.network.group_matcher(coarse=False)  # type: ignore[operator]
        layers = group_parameters(self.network, matcher, reverse=True)
        return {f"network.{name}": layer for name, layer in layers.items()}


def _network(recipe: OpenRecipe, shape: AnyNetwork) -> nn.Module:
    arguments = {**shape.arguments, "drop_path_rate": recipe.drop_path}
    if shape.sized:
        arguments["img_size"] = tuple(recipe.size)
    network: nn.Module = timm.create_model(shape.architecture, **arguments)
    network.reset_classifier(0)  # type: ignore[operator]
    if recipe.pretrained:
        _load_pretrained(network, recipe, shape)
    return network


def _timm_network(recipe: OpenRecipe) -> nn.Module:
    is_on_hub = recipe.pretrained and recipe.weights_file is None
    network = build_timm_model(recipe.backbone, recipe.size, drop_path=recipe.drop_path, pretrained=is_on_hub)
    if recipe.weights_file is not None:
        load_file(network, recipe.weights_file, _without_classifier)
    return network


def _own_network(recipe: OpenRecipe, shape: OwnNetwork) -> nn.Module:
    """Return the module that the registered factory builds, with the weights of `weights_file` if it is set."""
    file = recipe.weights_file
    bare = recipe if file is None else dataclasses.replace(recipe, pretrained=False, weights_file=None)
    network: Any = call_factory(shape.factory, recipe=bare)
    if not isinstance(network, nn.Module) or not isinstance(getattr(network, "num_features", None), int):
        found = type(network).__name__
        raise Error(
            f"backbone={recipe.backbone}: its factory returned {found}. Let it return an nn.Module with num_features."
        )
    if file is not None:
        load_file(network, file, _without_classifier)
    return network


def _without_classifier(states: States) -> States:
    return {name: value for name, value in states.items() if not name.startswith(CLASSIFIERS)}


def _recompute_activations(network: nn.Module, recipe: OpenRecipe) -> None:
    try:
        network.set_grad_checkpointing(True)  # type: ignore[operator]
    except (AttributeError, AssertionError) as failure:
        raise Error(
            f"{recipe.name}: {recipe.backbone} cannot recompute its activations. Set activation_checkpointing=false."
        ) from failure


def _count_tokens(network: nn.Module, size: Size) -> int:
    """Return the number of patches or positions, from shapes alone; 0 without a `forward_features` like timm's."""
    if not hasattr(network, "forward_features"):
        return 0
    on_meta: Any = copy.deepcopy(network).to("meta").eval()
    with torch.inference_mode():
        map_BCHW = on_meta.forward_features(torch.empty(1, 3, *size, device="meta"))
    if not isinstance(map_BCHW, Tensor) or map_BCHW.numel() % on_meta.num_features:
        return 0
    return int(map_BCHW.numel() // on_meta.num_features - getattr(on_meta, "num_prefix_tokens", 0))


def _load_pretrained(network: nn.Module, recipe: OpenRecipe, shape: AnyNetwork) -> None:
    """Load the pretrained weights; timm resizes their position embeddings to the network's."""

    def clean(states: States) -> States:
        kept = _without_classifier(states)
        return swap_colors(kept, network) if shape.reads_bgr else kept

    if recipe.weights_file is not None:
        load_file(network, recipe.weights_file, clean)
        return
    source = str(shape.pretrained_name)
    states = _from_repository(source) if source.startswith(HUB) else hub_weights(recipe.backbone, shape)
    load_states(network, states, source, clean)


def _from_repository(name: str) -> States:
    with from_hub(name):
        return dict(load_state_dict_from_hf(name.removeprefix(HUB), weights_only=True))


def swap_colors(states: States, network: nn.Module) -> States:
    """Convert weights between BGR and RGB images: flip the input channels of the first convolution."""
    first = next(name for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    name = f"{first}.weight"
    return {**states, name: states[name].flip(1)} if name in states else states
