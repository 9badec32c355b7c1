"""The losses of a recipe and their weighted sum.

B batch, R branches.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from shards_tools.errors import Error
from trainables.factories import call_factory
from trainables.losses.animesion import exclusion_loss, tag_loss
from trainables.losses.center import CenterLoss
from trainables.losses.identity import distillation_loss
from trainables.losses.registry import ID_LOSSES, METRIC_LOSSES, IdLoss, MetricLoss
from trainables.models.model import Outputs
from trainables.recipes.animesion import AnimesionRecipe
from trainables.recipes.recipe import ClassifierRecipe, RankingRecipe, Recipe


class BranchLoss(nn.Module):
    """A loss over the features or logits of one branch, built by a registered factory."""

    def __init__(self, name: str, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.name = name
        self.loss = loss

    def forward(self, values: Tensor, works_B: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Raises:
            Error: the registered loss did not return a scalar tensor.
        """
        loss = self.loss(values, works_B)
        if not isinstance(loss, Tensor) or loss.ndim:
            found = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise Error(f"{self.name} returned {found}. Let it return a scalar tensor, the mean over the batch.")
        return loss


class Criterion(nn.Module):
    """The weighted sum of a recipe's losses, which training minimizes.

    It holds the state of the losses: the centers of the center loss, and the weights of registered losses.

    Args:
        num_works: number of classes.
        width: feature dimension of one branch.
        num_branches: branches of the model; a loss with weights is built once per branch.

    Raises:
        Error: the factory of a registered loss returned something that cannot be called.
    """

    def __init__(self, recipe: Recipe, num_works: int, width: int, num_branches: int = 1) -> None:
        super().__init__()
        self.recipe = recipe
        has_centers = isinstance(recipe, RankingRecipe) and recipe.center_weight > 0
        self.center = CenterLoss(num_works, width) if has_centers else None
        arguments = {"recipe": recipe, "num_classes": num_works, "feature_dim": width}
        id_loss = ID_LOSSES.find(recipe.id_loss)
        self.id_losses = _of_branches(f"id_loss={recipe.id_loss}", id_loss, num_branches, arguments)
        self.metric_losses = nn.ModuleList()
        if isinstance(recipe, RankingRecipe) and recipe.metric_weight:
            metric_loss = METRIC_LOSSES.find(recipe.metric_loss)
            name = f"metric_loss={recipe.metric_loss}"
            self.metric_losses = _of_branches(name, metric_loss, num_branches, arguments)

    def forward(self, outputs: Outputs, works_B: Tensor, asked_BL: Tensor | None = None) -> dict[str, Tensor]:
        """Return each loss by name, and their weighted sum as `loss`.

        Args:
            works_B: the labels.
            asked_BL: the masked words, if the recipe reads tags; -100 elsewhere.
        """
        recipe = self.recipe
        losses = {"id_loss": over_branches(_each(self.id_losses, outputs.logits, works_B), recipe)}
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
            losses["metric_loss"] = over_branches(_each(self.metric_losses, outputs.features, works_B), recipe)
            total = total + recipe.metric_weight * losses["metric_loss"]
        if self.center is not None:
            losses["center_loss"] = self.center(outputs.features[0], works_B)
            total = total + recipe.center_weight * losses["center_loss"]
        return total


def _of_branches(name: str, entry: IdLoss | MetricLoss, num_branches: int, arguments: dict[str, Any]) -> nn.ModuleList:
    """Build the loss of each branch; branches share one if it has neither weights nor buffers."""
    losses: list[BranchLoss] = []
    while len(losses) < num_branches:
        loss = call_factory(entry.factory, **arguments)
        if not callable(loss):
            raise Error(
                f"{name}: its factory returned {type(loss).__name__}. Let it return a function or an nn.Module."
            )
        losses.append(BranchLoss(name, loss))
        if not losses[0].state_dict():
            break
    return nn.ModuleList(losses)


def _each(losses: nn.ModuleList, values: Sequence[Tensor], works_B: Tensor) -> list[Tensor]:
    of_branches = losses if len(losses) > 1 else itertools.repeat(losses[0])
    return [loss(value, works_B) for loss, value in zip(of_branches, values, strict=False)]


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
    """Return `global_weight` times the global loss plus 1 - `global_weight` times the mean of the local losses.

    Args:
        losses: of each branch, the global one first; a single one is returned unchanged.
    """
    if len(losses) == 1:
        return losses[0]
    global_weight: float = recipe.global_weight  # type: ignore[attr-defined]  # only TransReID has branches
    local = sum(losses[1:], start=losses[0].new_zeros(())) / (len(losses) - 1)
    return global_weight * losses[0] + (1 - global_weight) * local
