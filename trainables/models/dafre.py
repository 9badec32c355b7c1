"""The classifiers of DAF:re: a backbone of any kind and one linear layer."""

from torch import nn

from trainables.models.animesion import AnimesionBackbone
from trainables.models.conv import build_conv
from trainables.models.conv_backbone import Average, ConvBackbone
from trainables.models.head import BranchHead
from trainables.models.initial import init_xavier
from trainables.models.model import Model
from trainables.models.shallow import ShallowBackbone
from trainables.recipes.backbones import ConvNet, Shallow, Transformer, get_backbone
from trainables.recipes.dafre import DAFreRecipe


def build_dafre(recipe: DAFreRecipe, num_works: int, num_words: int = 0) -> Model:
    """Build a classifier of Rios et al. 2021 (arXiv 2101.08674).

    A transformer's classifier starts at 0, those of other networks at torch's default.
    """
    shape = get_backbone(recipe.backbone)
    if isinstance(shape, Transformer):
        backbone: nn.Module = AnimesionBackbone(recipe, num_words=0)
        head = BranchHead(recipe, shape.width, 1, num_works, neck=False, bias=True, initialize=nn.init.zeros_)
        return Model(backbone, head)
    if isinstance(shape, Shallow):
        backbone = ShallowBackbone(recipe, shape)
    else:
        assert isinstance(shape, ConvNet)
        network = build_conv(recipe)
        if not recipe.pretrained:
            init_xavier(network)
        backbone = ConvBackbone(recipe, network, Average())
    return Model(backbone, BranchHead(recipe, shape.width, 1, num_works, neck=False, bias=True, initialize=None))
