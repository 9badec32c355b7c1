"""PaddleClas's RecModel: a residual network and one linear layer with a bias, without a neck."""

from torch import nn

from trainables.models.conv import build_conv
from trainables.models.conv_backbone import Average, ConvBackbone
from trainables.models.head import BranchHead
from trainables.models.initial import init_as_paddle
from trainables.models.model import Model
from trainables.recipes.icartoonface import CartoonRecipe


def build_icartoonface(recipe: CartoonRecipe, num_works: int, num_words: int = 0) -> Model:
    """Build the model; its classifier starts with Xavier normal weights."""
    network = build_conv(recipe)
    if not recipe.pretrained:
        init_as_paddle(network)
    backbone = ConvBackbone(recipe, network, Average())
    head = BranchHead(recipe, backbone.width, 1, num_works, neck=False, bias=True, initialize=nn.init.xavier_normal_)
    return Model(backbone, head)
