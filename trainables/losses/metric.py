"""How near are images of one work, how far those of others? One entry per `metric_loss` of a recipe.

B batch, D width. Features come as float32: distances cancel in bfloat16.
"""

from collections.abc import Callable

from pytorch_metric_learning.losses import CircleLoss, SupConLoss
from torch import Tensor

from trainables.losses.triplet import hard_margin_triplet, soft_margin_triplet
from trainables.losses.weighted_triplet import weighted_triplet, weighted_triplet_as_agw
from trainables.recipes.ranking import RankingRecipe

# (features BD, works B, recipe) -> the loss, a mean over the batch
METRIC_LOSSES: dict[str, Callable[[Tensor, Tensor, RankingRecipe], Tensor]] = {
    "soft_triplet": lambda features_BD, works_B, _: soft_margin_triplet(features_BD, works_B),
    "triplet": lambda features_BD, works_B, recipe: hard_margin_triplet(features_BD, works_B, recipe.metric_margin),
    "wrt": lambda features_BD, works_B, _: weighted_triplet(features_BD, works_B),
    "wrt_agw": lambda features_BD, works_B, _: weighted_triplet_as_agw(features_BD, works_B),
    # Sun et al. 2020 (arXiv 2002.10857), eq. 6; its paper takes 0.25 and 256 for re-identification
    "circle": lambda features_BD, works_B, recipe: CircleLoss(m=recipe.metric_margin, gamma=recipe.metric_scale)(
        features_BD, works_B
    ),
    # Khosla et al. 2020 (arXiv 2004.11362), eq. 2
    "supcon": lambda features_BD, works_B, recipe: SupConLoss(temperature=recipe.temperature)(features_BD, works_B),
}
