"""AGW (Ye et al. 2021, arXiv 2001.04193), as in LSASRD's Table 4, in LSASRD's code and in AGW's code."""

from dataclasses import dataclass
from typing import Any, Literal

from trainables.recipes.backbones import ConvNet, get_backbone
from trainables.recipes.checks import require
from trainables.recipes.images import IMAGENET
from trainables.recipes.recipe import RankingRecipe
from trainables.recipes.tiny import TINY


@dataclass(frozen=True, kw_only=True)
class AGWRecipe(RankingRecipe):
    """A residual network with a finer last feature map, non-local blocks and generalized-mean pooling."""

    pooling: Literal["avg", "gem"] = "gem"  # gem: generalized mean with a learned exponent
    last_stride: Literal["1", "2"] = "1"  # of the last stage; 1 doubles the size of the last map, as in AGW
    non_local: Literal["none", "dot", "narrow"] = "none"  # dot: C/16 inner channels; narrow: 1, as in AGW's code
    stem_relu: bool = True  # ReLU after the first batch norm; the papers' plain ResNets omit it

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "backbone", isinstance(get_backbone(self.backbone), ConvNet), "a residual network like resnet50")


def _paper(row: str, name: str, **values: Any) -> AGWRecipe:
    """Return a row of LSASRD's Table 4, as its text and figure describe it.

    16 works x 4 images of 256 px, ImageNet weights, SGD, label smoothing, and the weighted regularized triplet in the
    arithmetic of the code that produced the table's numbers. The learning rate rises from 1e-4 to 1e-2 in ten epochs
    and falls after 40 and 80 epochs.
    """
    return AGWRecipe(
        name=name,
        system="agw",
        table="LSASRD Table 4",
        row=row,
        preset="paper",
        scale="paper",
        pretrained=True,
        image_size=256,
        batch_sampler="papers",
        erase_fill="agw",
        label_smoothing=0.1,
        metric_loss="wrt_agw",
        neck_feature="after",
        lr=0.01,
        weight_decay=5e-4,
        schedule="multistep",
        warmup_epochs=10,
        milestones=(40, 80),
        precision="bf16",
        channels_last=True,
        **IMAGENET,
        **values,
    )


def _code(recipe: AGWRecipe) -> AGWRecipe:
    """Return the row as LSASRD's released code trains it: plain shuffling and average pooling.

    The learning rate of ResNet50 falls after 30 and 60 epochs. The configuration of ResNet50 IBN A combines SE ResNet50
    with IBN's weights and cannot run; here the row trains the network in its name.
    """
    return recipe.variant(
        f"{recipe.name}-code",
        preset="code",
        batch_sampler="shuffle",
        pooling="avg",
        milestones=(30, 60) if recipe.name == "agw-resnet50" else recipe.milestones,
    )


def _upstream(recipe: AGWRecipe) -> AGWRecipe:
    """Return the row as AGW's authors train it.

    Adam at 3.5e-4, 120 epochs, a center loss, non-local blocks with one inner channel, TF32.
    """
    return recipe.variant(
        f"{recipe.name}-upstream",
        preset="upstream",
        center_weight=5e-4,
        non_local="none" if recipe.non_local == "none" else "narrow",
        optimizer="adam",
        lr=3.5e-4,
        schedule="agw",
        milestones=(40, 70),
        epochs=120,
        precision="tf32",
    )


ROWS = (
    _paper("ResNet50", "agw-resnet50", backbone="resnet50", stem_relu=False),
    _paper("ResNet50 NL", "agw-resnet50-nl", backbone="resnet50", stem_relu=False, non_local="dot"),
    _paper("ResNet101", "agw-resnet101", backbone="resnet101", stem_relu=False),
    _paper("ResNet152", "agw-resnet152", backbone="resnet152", stem_relu=False),
    _paper("SE ResNet50", "agw-se-resnet50", backbone="legacy_seresnet50"),
    _paper("SE ResNet101", "agw-se-resnet101", backbone="legacy_seresnet101"),
    _paper("SE ResNet152", "agw-se-resnet152", backbone="legacy_seresnet152"),
    _paper("SE ResNext50", "agw-se-resnext50", backbone="legacy_seresnext50"),
    _paper("SE ResNext101", "agw-se-resnext101", backbone="legacy_seresnext101"),
    _paper("ResNet50 IBN A", "agw-resnet50-ibn-a", backbone="resnet50_ibn_a"),
)


def _hand_set() -> AGWRecipe:
    """Return the hand-set baseline of the tiny scale: basic blocks and a high learning rate learn from scratch.

    On Omniglot, the triplet loss at full weight costs a fifth of the mAP, and so does mirroring the images.
    """
    return AGWRecipe(
        name="agw-tiny",
        system="agw",
        backbone="resnet18_32",
        image_size=48,
        flip_probability=0.0,
        pad_px=2,
        erase_probability=0.0,
        label_smoothing=0.1,
        metric_loss="wrt",
        metric_weight=0.3,
        neck_feature="after",
        lr=0.1,
        weight_decay=5e-4,
        schedule="cosine",
        warmup_epochs=1,
        **TINY,
    )


RECIPES = (*ROWS, *map(_code, ROWS), *map(_upstream, ROWS), _hand_set())
