"""AGW: a residual network with an unstrided last stage, non-local blocks, generalized-mean pooling and a BNNeck."""

from torch import nn

from trainables.models.conv import build_conv, channels_of, unstride_last_stage
from trainables.models.conv_backbone import Average, ConvBackbone, GeM
from trainables.models.head import BranchHead
from trainables.models.model import Model
from trainables.models.non_local import WithNonLocal
from trainables.recipes.agw import AGWRecipe

NON_LOCAL_BLOCKS = {"layer2": 2, "layer3": 3}  # after that many last blocks of a stage
NON_LOCAL_REDUCTION = 16
POOLINGS = {"avg": Average, "gem": GeM}


def build_agw(recipe: AGWRecipe, num_works: int, num_words: int = 0) -> Model:
    """Build the model of Ye et al. 2021 (arXiv 2001.04193) from timm's blocks."""
    backbone = ConvBackbone(recipe, agw_network(recipe), POOLINGS[recipe.pooling]())
    return Model(backbone, BranchHead(recipe, backbone.width, 1, num_works, neck_feature=recipe.neck_feature))


def agw_network(recipe: AGWRecipe) -> nn.Module:
    """Return the recipe's network with AGW's changes."""
    network = build_conv(recipe)
    if recipe.last_stride == "1":
        unstride_last_stage(network)
    if not recipe.stem_relu:
        network.act1 = nn.Identity()
    # the weights are loaded by now: wrapping a stage renames them
    if recipe.non_local != "none":
        _look_around(network, narrow=recipe.non_local == "narrow")
    return network


def _look_around(network: nn.Module, *, narrow: bool) -> None:
    for stage, num_blocks in NON_LOCAL_BLOCKS.items():
        channels = channels_of(network, stage)
        inner = 1 if narrow else max(channels // NON_LOCAL_REDUCTION, 1)
        blocks = network.get_submodule(stage)
        assert isinstance(blocks, nn.Sequential)
        setattr(network, stage, WithNonLocal(blocks, channels, inner, num_blocks))
