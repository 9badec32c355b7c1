"""All losses of a recipe, and their weighted sum.

B batch, R branches.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from trainables.losses.centre import CentreLoss
from trainables.losses.identity import identity_loss
from trainables.losses.metric import METRIC_LOSSES
from trainables.models.model import Outputs
from trainables.recipes.ranking import RankingRecipe
from trainables.recipes.recipe import Recipe

# what a training may report, beside `loss`
NAMES = ("id_loss", "metric_loss", "centre_loss")


class Losses(nn.Module):
    """What is minimised. It keeps what losses remember from batch to batch, the centres."""

    def __init__(self, recipe: Recipe, num_works: int, width: int) -> None:
        super().__init__()
        self.recipe = recipe
        has_centres = isinstance(recipe, RankingRecipe) and recipe.centre_weight > 0
        self.centre = CentreLoss(num_works, width) if has_centres else None

    def forward(self, outputs: Outputs, works_B: Tensor) -> dict[str, Tensor]:
        """Each loss by its name, `loss` their weighted sum."""
        recipe = self.recipe
        id_losses = [identity_loss(logits_BN, works_B, recipe) for logits_BN in outputs.logits]
        losses = {"id_loss": over_branches(id_losses, recipe)}
        total = recipe.id_weight * losses["id_loss"]
        if isinstance(recipe, RankingRecipe):
            total = total + self._ranking_losses(recipe, outputs, works_B, losses)
        return {"loss": total, **losses}

    def _ranking_losses(
        self, recipe: RankingRecipe, outputs: Outputs, works_B: Tensor, losses: dict[str, Tensor]
    ) -> Tensor:
        total = outputs.features[0].new_zeros(())
        if recipe.metric_weight:
            metric_loss = METRIC_LOSSES[recipe.metric_loss]
            of_branches = [metric_loss(features_BD, works_B, recipe) for features_BD in outputs.features]
            losses["metric_loss"] = over_branches(of_branches, recipe)
            total = total + recipe.metric_weight * losses["metric_loss"]
        if self.centre is not None:
            losses["centre_loss"] = self.centre(outputs.features[0], works_B)
            total = total + recipe.centre_weight * losses["centre_loss"]
        return total


def over_branches(losses: Sequence[Tensor], recipe: Recipe) -> Tensor:
    """The weighted global loss plus the rest of the weight on the mean of the local ones, where there are any."""
    if len(losses) == 1:
        return losses[0]
    global_weight: float = recipe.global_weight  # type: ignore[attr-defined]  # of the one family with branches
    local = sum(losses[1:], start=losses[0].new_zeros(())) / (len(losses) - 1)
    return global_weight * losses[0] + (1 - global_weight) * local
