"""AGW: a residual network with a fine last map, non-local blocks, generalised mean pooling and a neck.

B batch, D width, C channels, H W places of the map.
"""

from typing import Any

from timm.models import group_parameters
from torch import Tensor, nn

from trainables.models.checkpointing import remake_activations
from trainables.models.conv import STAGES, build_conv, channels_of, count_places, unstride_last_stage
from trainables.models.head import BranchHead
from trainables.models.input_step import InputStep
from trainables.models.model import Features, Model
from trainables.models.non_local import WithNonLocal
from trainables.models.pooling import Average, GeM
from trainables.recipes.agw import AGWRecipe
from trainables.recipes.backbones import get_backbone

NON_LOCAL_BLOCKS = {"layer2": 2, "layer3": 3}  # after the last so many blocks of these stages
NON_LOCAL_REDUCTION = 16
POOLINGS = {"avg": Average, "gem": GeM}


def build_agw(recipe: AGWRecipe, num_works: int, num_words: int = 0) -> Model:
    """Ye et al. 2021 (arXiv 2001.04193), from timm's blocks."""
    backbone = AGWBackbone(recipe)
    return Model(backbone, BranchHead(recipe, backbone.width, 1, num_works, neck_feature=recipe.neck_feature))


class AGWBackbone(nn.Module):
    """One branch: the pooled last map."""

    def __init__(self, recipe: AGWRecipe) -> None:
        super().__init__()
        self.input_step = InputStep(recipe)
        self.network = build_conv(recipe.backbone, pretrained=recipe.pretrained, weights_file=recipe.weights_file)
        if recipe.last_stride == "1":
            unstride_last_stage(self.network)
        if not recipe.stem_relu:
            self.network.act1 = nn.Identity()
        # the weights are in by now: what wraps a stage renames them
        if recipe.non_local != "none":
            self._look_around(narrow=recipe.non_local == "narrow")
        self.pooling = POOLINGS[recipe.pooling]()
        self.width = get_backbone(recipe.backbone).width
        self.num_branches = 1
        self.image_size = recipe.image_size
        if recipe.checkpointing:
            remake_activations(self.network.get_submodule(stage) for stage in STAGES)

    @property
    def num_tokens(self) -> int:
        """Places of the last map."""
        return count_places(self.network, self.image_size)

    def forward(self, images_BHWC: Tensor, words_BL: Tensor | None = None) -> Features:
        """The one branch, B x 1 x D."""
        map_BCHW = self.network.forward_features(self.input_step(images_BHWC))  # type: ignore[operator]
        return {"branches": self.pooling(map_BCHW)[:, None]}

    def layers(self) -> dict[str, int]:
        """The layer of each of its weights, counted from the images on. A stage is a layer."""
        matcher: dict[str, Any] = {
            "stem": r"^network\.(?:conv1|bn1|layer0)",
            "blocks": [(r"^network\.layer(\d+)", None), (r"^pooling", (4,))],
        }
        layers: dict[str, int] = group_parameters(self, matcher, reverse=True)
        return layers

    def _look_around(self, *, narrow: bool) -> None:
        for stage, num_blocks in NON_LOCAL_BLOCKS.items():
            channels = channels_of(self.network, stage)
            inner = 1 if narrow else max(channels // NON_LOCAL_REDUCTION, 1)
            blocks = self.network.get_submodule(stage)
            assert isinstance(blocks, nn.Sequential)
            setattr(self.network, stage, WithNonLocal(blocks, channels, inner, num_blocks))
