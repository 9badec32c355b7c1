"""All losses of a recipe, and their weighted sum.

B batch, R branches.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from trainables.losses.centre import CentreLoss
from trainables.losses.distillation import distillation_loss
from trainables.losses.exclusion import exclusion_loss
from trainables.losses.identity import identity_loss
from trainables.losses.metric import METRIC_LOSSES
from trainables.losses.tags import tag_loss
from trainables.models.model import Outputs
from trainables.recipes.animesion import AnimesionRecipe
from trainables.recipes.classifying import ClassifierRecipe
from trainables.recipes.ranking import RankingRecipe
from trainables.recipes.recipe import Recipe

# what a training may report, beside `loss`
NAMES = ("id_loss", "metric_loss", "centre_loss", "tag_loss", "exclusion_loss", "distillation_loss")


class Losses(nn.Module):
    """What is minimised. It keeps what losses remember from batch to batch, the centres."""

    def __init__(self, recipe: Recipe, num_works: int, width: int) -> None:
        super().__init__()
        self.recipe = recipe
        has_centres = isinstance(recipe, RankingRecipe) and recipe.centre_weight > 0
        self.centre = CentreLoss(num_works, width) if has_centres else None

    def forward(self, outputs: Outputs, works_B: Tensor, asked_BL: Tensor | None = None) -> dict[str, Tensor]:
        """Each loss by its name, `loss` their weighted sum.

        Args:
            asked_BL: the hidden words, where the recipe reads tags.
        """
        recipe = self.recipe
        id_losses = [identity_loss(logits_BN, works_B, recipe) for logits_BN in outputs.logits]
        losses = {"id_loss": over_branches(id_losses, recipe)}
        total = recipe.id_weight * losses["id_loss"]
        if isinstance(recipe, RankingRecipe):
            total = total + self._ranking_losses(recipe, outputs, works_B, losses)
        if isinstance(recipe, ClassifierRecipe) and "teacher_logits" in outputs.extra:
            teacher_BN = outputs.extra["teacher_logits"]
            loss = distillation_loss(outputs.logits[0], teacher_BN, recipe.distillation_temperature)
            losses["distillation_loss"] = loss
            total = total + recipe.distillation_weight * loss
        if isinstance(recipe, AnimesionRecipe):
            total = total + _animesion_losses(recipe, outputs, asked_BL, losses)
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


def _animesion_losses(
    recipe: AnimesionRecipe, outputs: Outputs, asked_BL: Tensor | None, losses: dict[str, Tensor]
) -> Tensor:
    total = outputs.features[0].new_zeros(())
    if asked_BL is not None and "word_logits" in outputs.extra:
        losses["tag_loss"] = tag_loss(outputs.extra["word_logits"], asked_BL)
        total = total + recipe.tag_weight * losses["tag_loss"]
    if recipe.exclusion_weight:
        settings = recipe.exclusion_distance, recipe.exclusion_temperature
        losses["exclusion_loss"] = exclusion_loss(outputs.extra["class_tokens"], *settings)
        total = total - recipe.exclusion_weight * losses["exclusion_loss"]
    return total


def over_branches(losses: Sequence[Tensor], recipe: Recipe) -> Tensor:
    """The weighted global loss plus the rest of the weight on the mean of the local ones, where there are any."""
    if len(losses) == 1:
        return losses[0]
    global_weight: float = recipe.global_weight  # type: ignore[attr-defined]  # of the one family with branches
    local = sum(losses[1:], start=losses[0].new_zeros(())) / (len(losses) - 1)
    return global_weight * losses[0] + (1 - global_weight) * local
