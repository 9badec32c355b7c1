"""Networks of timm's as they are, with a neck: the family `open`.

B batch, D width.
"""

import timm
from timm.models import group_parameters, load_state_dict_from_hf
from torch import Tensor, nn

from trainables.models.head import BranchHead
from trainables.models.input_step import InputStep
from trainables.models.model import Features, Model
from trainables.recipes.backbones import AnyNetwork, get_backbone
from trainables.recipes.open_networks import OpenRecipe
from trainables.weights import States, converted, file_weights, hub_weights, readable, take

HUB = "hf-hub:"
CLASSIFIERS = ("head.fc.", "head.weight", "head.bias", "fc.", "classifier.")


def build_open(recipe: OpenRecipe, num_works: int, num_words: int = 0) -> Model:
    """The network, its pooled feature, and the neck of re-identification."""
    backbone = OpenBackbone(recipe)
    return Model(backbone, BranchHead(recipe, backbone.width, 1, num_works, neck_feature=recipe.neck_feature))


class OpenBackbone(nn.Module):
    """One branch: what the network's own pooling gives."""

    num_branches = 1

    def __init__(self, recipe: OpenRecipe) -> None:
        super().__init__()
        shape = get_backbone(recipe.backbone)
        assert isinstance(shape, AnyNetwork)  # the recipe has checked it
        self.input_step = InputStep(recipe)
        network = _network(recipe, shape)
        if recipe.pretrained:
            _fill(network, recipe, shape)
        self.network: nn.Module = network
        self.width = shape.width
        self.num_tokens = (recipe.image_size // shape.grid_px) ** 2
        if recipe.checkpointing:
            network.set_grad_checkpointing(True)  # type: ignore[operator]

    def forward(self, images_BHWC: Tensor, words_BL: Tensor | None = None) -> Features:
        """The one branch, B x 1 x D."""
        features_BD: Tensor = self.network(self.input_step(images_BHWC))
        return {"branches": features_BD[:, None]}

    def layers(self) -> dict[str, int]:
        """The layer of each of its weights, counted from the images on, as timm tells them."""
        matcher = self.network.group_matcher(coarse=False)  # type: ignore[operator]
        layers = group_parameters(self.network, matcher, reverse=True)
        return {f"network.{name}": layer for name, layer in layers.items()}


def _network(recipe: OpenRecipe, shape: AnyNetwork) -> nn.Module:
    arguments = {**shape.arguments, "drop_path_rate": recipe.drop_path}
    if shape.sized:
        arguments["img_size"] = recipe.image_size
    network: nn.Module = timm.create_model(shape.architecture, **arguments)
    network.reset_classifier(0)  # type: ignore[operator]
    return network


def _fill(network: nn.Module, recipe: OpenRecipe, shape: AnyNetwork) -> None:
    """Load its weights, whose positions timm resizes to the network's own."""
    if recipe.weights_file is not None:
        source, states = recipe.weights_file, file_weights(network, recipe.weights_file)
    else:
        source = str(shape.pretrained_name)
        states = _from_repository(network, source) if source.startswith(HUB) else hub_weights(recipe.backbone, shape)
        states = converted(states, network)
    states = {name: value for name, value in states.items() if not name.startswith(CLASSIFIERS)}
    take(network, _in_rgb(states, network) if shape.reads_bgr else states, source)


def _from_repository(network: nn.Module, name: str) -> States:
    with readable(name, "the Hugging Face hub"):
        return dict(load_state_dict_from_hf(name.removeprefix(HUB), weights_only=True))


def _in_rgb(states: States, network: nn.Module) -> States:
    """Weights that were trained on blue, green, red: the first convolution reads its channels the other way round."""
    first = next(name for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    name = f"{first}.weight"
    return {**states, name: states[name].flip(1)} if name in states else states
