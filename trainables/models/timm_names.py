"""The weights of a backbone under the names of timm's network, as `weights_file` of a recipe reads them."""

import re

from torch import Tensor, nn

from shards_tools.errors import Error
from trainables.models.model import Model
from trainables.models.open_networks import swap_colors
from trainables.recipes.backbones import AnyNetwork, Shallow, get_backbone
from trainables.recipes.recipe import Recipe

# Parts of our backbones that timm's networks lack.
OWN_PARTS = re.compile(
    r"local_branch\.|side_information\.|words\.|decoder\.|aggregation\.|pooling\.|network\.layer\d\.non_local\."
)
# Our names of timm's parts; DEPTH is the number of blocks before the last.
RENAMED = (
    (r"^network\.(layer\d)\.blocks\.", r"\1."),  # a stage with non-local blocks
    (r"^network\.", ""),
    (r"^trunk\.", "blocks."),
    (r"^global_branch\.block\.", "blocks.DEPTH."),
    (r"^global_branch\.norm\.", "norm."),
)


def weights_by_timm_name(model: Model, recipe: Recipe) -> tuple[dict[str, Tensor], list[str]]:
    """Return the backbone's weights by timm's name, and the names of the model's weights without such a name.

    Raises:
        Error: the backbone is not one of timm's.
    """
    shape = get_backbone(recipe.backbone)
    if isinstance(shape, Shallow):
        raise Error(f"backbone={recipe.backbone} is not one of timm's, and weights_file= does not read it. Use onnx.")
    trunk = getattr(model.backbone, "trunk", None)
    depth = str(len(trunk)) if isinstance(trunk, nn.Sequential | nn.ModuleList) else ""
    found, left_out = {}, [f"head.{name}" for name in model.head.state_dict()]
    for name, value in model.backbone.state_dict().items():
        if OWN_PARTS.match(name):
            left_out.append(f"backbone.{name}")
            continue
        for pattern, replacement in RENAMED:
            name = re.sub(pattern, replacement.replace("DEPTH", depth), name)
        found[name] = value
    if isinstance(shape, AnyNetwork) and shape.reads_bgr:
        found = swap_colors(found, model.backbone.get_submodule("network"))
    return found, left_out
